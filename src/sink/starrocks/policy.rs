//! What becomes of values StarRocks cannot hold: classes of such values, and a policy for each.
//!
//! In: what a writer found wrong with a value. Out: its class, and what is done about it in this column. Always: a
//! class and a policy keep their names, because settings, metrics and logs carry them; what is not the value itself is
//! done only where it was asked for, and never in a key, where two rows could become one. Not here: finding what is
//! wrong (`value`, `json`), the nearest value (`nearest`), the grammar of the setting (`config`). Start at [`CLASSES`].

use super::value::{Unfit, Writer};
use crate::model::ColumnType;

/// A kind of value that a target column cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BadClass {
    /// NaN in a column of exact numbers.
    NumericNan,
    /// An infinity in a column of exact numbers.
    NumericInfinite,
    /// A number too large or too small for its column.
    NumericRange,
    /// More digits after the point than the column keeps.
    NumericScale,
    /// A date or time before the year 1 or after the year 9999.
    DateRange,
    /// `infinity` or `-infinity` as date or time.
    DateInfinite,
    /// Text with more bytes than the column has room for.
    TextLength,
    /// Text with U+0000.
    TextNul,
    /// Bytes that are no UTF-8.
    TextEncoding,
    /// A document with a number that StarRocks would change.
    JsonNumber,
    /// A document with `\u0000` or half a surrogate pair.
    JsonEscape,
    /// A document nested too deeply.
    JsonDepth,
    /// A document over 16 MB.
    JsonSize,
    /// An array whose elements are not numbered from 1.
    ArrayBounds,
    /// An array of more than one dimension in a column of ARRAY.
    ArrayDimensions,
}

/// What is done about a class of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The table waits for a person.
    Block,
    /// NULL is loaded. Where a column must not be NULL: as `Block`.
    Null,
    /// The nearest value that the column holds is loaded.
    Clamp,
    /// The document's text is loaded as a JSON string.
    Text,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Policy; 4] = [Policy::Block, Policy::Null, Policy::Clamp, Policy::Text];

    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Policy::Block => "block",
            Policy::Null => "null",
            Policy::Clamp => "clamp",
            Policy::Text => "text",
        }
    }
}

/// One class in words.
#[derive(Clone, Copy, Debug)]
pub struct ClassRow {
    /// The class.
    pub class: BadClass,
    /// Its stable name.
    pub name: &'static str,
    /// Which values it has.
    pub what: &'static str,
    /// What `clamp` makes of them; `None` if they have no nearest value.
    pub clamp: Option<&'static str>,
    /// Whether `text` can be asked for.
    pub text: bool,
}

const fn row(class: BadClass, name: &'static str, what: &'static str) -> ClassRow {
    ClassRow { class, name, what, clamp: None, text: false }
}

impl ClassRow {
    const fn clamped(self, clamp: &'static str) -> ClassRow {
        ClassRow { clamp: Some(clamp), ..self }
    }

    const fn texted(self) -> ClassRow {
        ClassRow { text: true, ..self }
    }

    /// Whether the policy makes sense for the class.
    pub fn takes(&self, policy: Policy) -> bool {
        match policy {
            Policy::Block | Policy::Null => true,
            Policy::Clamp => self.clamp.is_some(),
            Policy::Text => self.text,
        }
    }

    /// The names of the policies that make sense.
    pub fn policies(&self) -> Vec<&'static str> {
        Policy::ALL.into_iter().filter(|policy| self.takes(*policy)).map(Policy::name).collect()
    }
}

/// How many classes there are.
pub(super) const CLASS_COUNT: usize = 15;

/// Every class, in the order of the enum.
pub const CLASSES: [ClassRow; CLASS_COUNT] = [
    row(BadClass::NumericNan, "numeric_nan", "`NaN` of type numeric in a DECIMAL or integer column"),
    row(BadClass::NumericInfinite, "numeric_infinite", "`Infinity` and `-Infinity` of type numeric")
        .clamped("the largest or smallest number of the column"),
    row(BadClass::NumericRange, "numeric_range", "numbers with more digits before the point than the column has")
        .clamped("the largest or smallest number of the column"),
    row(BadClass::NumericScale, "numeric_scale", "numbers with more digits after the point than the column has")
        .clamped("rounded, halves away from zero"),
    row(BadClass::DateRange, "date_range", "dates and times before the year 1 (BC) or after the year 9999")
        .clamped("`0001-01-01 00:00:00` or `9999-12-31 23:59:59.999999`"),
    row(BadClass::DateInfinite, "date_infinite", "`infinity` and `-infinity` as date or time")
        .clamped("`9999-12-31 23:59:59.999999` or `0001-01-01 00:00:00`"),
    row(BadClass::TextLength, "text_length", "text with more bytes than the column")
        .clamped("cut after the last whole character that fits; only text, varchar and char, other types block"),
    row(BadClass::TextNul, "text_nul", "text with U+0000, which PostgreSQL itself never has").clamped("without it"),
    row(BadClass::TextEncoding, "text_encoding", "bytes that are not UTF-8 (databases with encoding SQL_ASCII)")
        .clamped("U+FFFD in place of what is wrong"),
    row(
        BadClass::JsonNumber,
        "json_number",
        "documents with a number that StarRocks would change: it keeps 64-bit integers and doubles",
    )
    .clamped("the nearest double in its place")
    .texted(),
    row(BadClass::JsonEscape, "json_escape", "documents with `\\u0000` or half a surrogate pair").texted(),
    row(BadClass::JsonDepth, "json_depth", "documents nested more than 1,000 deep").texted(),
    row(BadClass::JsonSize, "json_size", "documents over 16 MB"),
    row(BadClass::ArrayBounds, "array_bounds", "arrays whose elements are not numbered from 1")
        .clamped("the elements, numbered from 1")
        .texted(),
    row(BadClass::ArrayDimensions, "array_dimensions", "arrays of more than one dimension in a column of type ARRAY"),
];

impl BadClass {
    /// Its row.
    pub fn row(self) -> &'static ClassRow {
        &CLASSES[self as usize]
    }
}

/// The policy of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies([Policy; CLASS_COUNT]);

impl Policies {
    /// The same for every class that takes it; the others block.
    pub fn all(policy: Policy) -> Policies {
        Policies(CLASSES.map(|row| if row.takes(policy) { policy } else { Policy::Block }))
    }

    /// With another policy for one class; `None` if it makes no sense there.
    pub fn with(mut self, class: BadClass, policy: Policy) -> Option<Policies> {
        self.0[class as usize] = policy;
        class.row().takes(policy).then_some(self)
    }

    /// The policy of a class.
    pub fn of(&self, class: BadClass) -> Policy {
        self.0[class as usize]
    }

    /// What holds in one column: where it cannot follow a policy, the table blocks.
    pub(super) fn in_column(&self, column: &Abilities) -> Policies {
        Policies(CLASSES.map(|row| {
            let policy = self.of(row.class);
            if column.follows(row.class, policy) { policy } else { Policy::Block }
        }))
    }

    /// Whether nothing but the values themselves is ever loaded.
    pub(super) fn all_block(&self) -> bool {
        self.0.iter().all(|policy| *policy == Policy::Block)
    }
}

/// What a column's policies depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Abilities {
    pub(super) writer: Writer,
    pub(super) nullable: bool,
    pub(super) key: bool,
    /// Whether a part of a value's text is still text of its type.
    pub(super) prose: bool,
}

impl Abilities {
    /// Whether the column can follow the policy for values of the class.
    fn follows(&self, class: BadClass, policy: Policy) -> bool {
        let possible = match policy {
            Policy::Block => return true,
            Policy::Null => self.nullable,
            Policy::Clamp => self.has_nearest(class),
            Policy::Text => matches!(self.writer, Writer::Json | Writer::JsonArray { .. } | Writer::Hstore),
        };
        possible && !self.key && class.row().takes(policy)
    }

    fn has_nearest(&self, class: BadClass) -> bool {
        match class {
            // The first digits of a number or of bytes are another number and other bytes.
            BadClass::TextLength => self.prose,
            BadClass::TextNul | BadClass::TextEncoding | BadClass::ArrayBounds => true,
            // What is wrong with one element of many is not looked for again.
            _ => !matches!(
                self.writer,
                Writer::JsonArray { .. } | Writer::Array { .. } | Writer::Hstore | Writer::Vector | Writer::Hex(_)
            ),
        }
    }

    /// The policies that would load something for values of the class.
    pub(super) fn ways(&self, class: BadClass) -> Vec<Policy> {
        let all = Policy::ALL.into_iter().filter(|policy| *policy != Policy::Block);
        all.filter(|policy| self.follows(class, *policy)).collect()
    }
}

/// Whether a part of the text is still text of the type.
pub(super) fn is_prose(ty: &ColumnType) -> bool {
    matches!(ty, ColumnType::Text | ColumnType::TextIgnoringCase | ColumnType::Varchar { .. } | ColumnType::Char { .. })
}

impl Unfit {
    /// The class; `None` if no policy can help: the value is not what its type says, or must not be NULL.
    pub(super) fn class(self) -> Option<BadClass> {
        match self {
            Unfit::NotANumber => Some(BadClass::NumericNan),
            Unfit::Infinite => Some(BadClass::NumericInfinite),
            Unfit::OutOfRange => Some(BadClass::NumericRange),
            Unfit::TooManyFractionDigits => Some(BadClass::NumericScale),
            Unfit::DateOutOfRange => Some(BadClass::DateRange),
            Unfit::DateInfinite => Some(BadClass::DateInfinite),
            Unfit::TooLong { .. } => Some(BadClass::TextLength),
            Unfit::Nul => Some(BadClass::TextNul),
            Unfit::NotUtf8 => Some(BadClass::TextEncoding),
            Unfit::JsonNumber => Some(BadClass::JsonNumber),
            Unfit::BadEscape => Some(BadClass::JsonEscape),
            Unfit::TooDeep => Some(BadClass::JsonDepth),
            Unfit::DocumentTooLarge { .. } => Some(BadClass::JsonSize),
            Unfit::ArrayBounds => Some(BadClass::ArrayBounds),
            Unfit::ArrayDimensions => Some(BadClass::ArrayDimensions),
            Unfit::Malformed | Unfit::Null => None,
        }
    }
}

/// How many values of each class a body holds that are not the source's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    values: [u64; CLASS_COUNT],
    /// The column of the first one of each class.
    first_column: [usize; CLASS_COUNT],
}

impl Changed {
    /// Counts a value in the column at this position.
    pub(super) fn count(&mut self, class: BadClass, column: usize) {
        let at = class as usize;
        if self.values[at] == 0 {
            self.first_column[at] = column;
        }
        self.values[at] += 1;
    }

    /// Class, how many values, and the column of the first, where there are any.
    pub(super) fn each(&self) -> impl Iterator<Item = (BadClass, u64, usize)> {
        let rows = CLASSES.iter().zip(self.values).zip(self.first_column);
        rows.filter(|((_, values), _)| *values > 0).map(|((row, values), column)| (row.class, values, column))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.values == [0; CLASS_COUNT]
    }
}

/// The table of classes as a Markdown table.
pub fn classes_in_markdown() -> String {
    let row = |row: &ClassRow| {
        let clamp = row.clamp.map_or_else(|| "-".to_owned(), str::to_owned);
        let text = if row.text { "the document as a JSON string" } else { "-" };
        format!("| `{}` | {} | {clamp} | {text} |\n", row.name, row.what)
    };
    let rows: String = CLASSES.iter().map(row).collect();
    format!("| class | values | `clamp` loads | `text` loads |\n|---|---|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::starrocks::element::Element;
    use crate::sink::starrocks::value::Plain;

    #[test]
    fn rows_stand_in_the_order_of_the_enum_and_names_are_unique() {
        for (at, row) in CLASSES.iter().enumerate() {
            assert_eq!((row.class as usize, row.class.row().name), (at, row.name));
            assert_eq!(CLASSES.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        }
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_not_taken() {
        let block = Policies::all(Policy::Block);
        assert!(block.all_block());
        // class, clamp, text
        let cases = [
            (BadClass::NumericNan, false, false),
            (BadClass::NumericInfinite, true, false),
            (BadClass::NumericRange, true, false),
            (BadClass::NumericScale, true, false),
            (BadClass::DateRange, true, false),
            (BadClass::DateInfinite, true, false),
            (BadClass::TextLength, true, false),
            (BadClass::TextNul, true, false),
            (BadClass::TextEncoding, true, false),
            (BadClass::JsonNumber, true, true),
            (BadClass::JsonEscape, false, true),
            (BadClass::JsonDepth, false, true),
            (BadClass::JsonSize, false, false),
            (BadClass::ArrayBounds, true, true),
            (BadClass::ArrayDimensions, false, false),
        ];
        assert_eq!(cases.len(), CLASS_COUNT);
        for (class, clamp, text) in cases {
            for (policy, sense) in
                [(Policy::Block, true), (Policy::Null, true), (Policy::Clamp, clamp), (Policy::Text, text)]
            {
                let name = class.row().name;
                assert_eq!(
                    block.with(class, policy).map(|p| p.of(class)),
                    sense.then_some(policy),
                    "{name} {policy:?}"
                );
                let held = Policies::all(policy).of(class);
                assert_eq!(held, if sense { policy } else { Policy::Block }, "{name} where {policy:?} is for all");
            }
        }
    }

    #[test]
    fn a_column_follows_only_what_it_can() {
        use BadClass::{ArrayBounds, DateInfinite, JsonNumber, NumericRange, TextLength};
        let text = Writer::Text(10);
        let days = Writer::Array { element: Plain::Date, delimiter: b',' };
        let documents = Writer::JsonArray { element: Element::Document, delimiter: b',' };
        // policy, class, writer, nullable, key, prose, held
        let cases = [
            (Policy::Null, NumericRange, text, true, false, true, Policy::Null),
            (Policy::Null, NumericRange, text, false, false, true, Policy::Block),
            (Policy::Null, NumericRange, text, true, true, true, Policy::Block),
            (Policy::Clamp, TextLength, text, false, false, true, Policy::Clamp),
            (Policy::Clamp, TextLength, text, true, false, false, Policy::Block),
            (Policy::Clamp, TextLength, text, true, true, true, Policy::Block),
            (Policy::Clamp, NumericRange, Writer::Int(16), false, false, false, Policy::Clamp),
            (Policy::Text, JsonNumber, Writer::Json, false, false, false, Policy::Text),
            (Policy::Text, JsonNumber, text, true, false, false, Policy::Block),
            (Policy::Text, ArrayBounds, documents, true, false, false, Policy::Text),
            (Policy::Text, ArrayBounds, days, true, false, false, Policy::Block),
            (Policy::Clamp, ArrayBounds, days, true, false, false, Policy::Clamp),
            (Policy::Clamp, DateInfinite, days, true, false, false, Policy::Block),
            (Policy::Clamp, DateInfinite, Writer::Date, true, false, false, Policy::Clamp),
        ];
        for (policy, class, writer, nullable, key, prose, held) in cases {
            let column = Abilities { writer, nullable, key, prose };
            let got = Policies::all(policy).in_column(&column).of(class);
            assert_eq!(got, held, "{policy:?} {class:?} {column:?}");
            assert_eq!(column.ways(class).contains(&policy), held != Policy::Block, "{policy:?} {class:?} {column:?}");
        }
        let prose = [ColumnType::Text, ColumnType::Char { chars: 1 }, ColumnType::Varchar { chars: None }];
        assert!(prose.iter().all(is_prose) && !is_prose(&ColumnType::Bytea) && !is_prose(&ColumnType::Json));
    }
}
