//! How the rows of one table are written: settled once when the table is prepared, not row by row.

use super::escape;
use super::policy::{Abilities, Policies, Policy, is_prose};
use super::value::Writer;
use crate::model::{ColumnSet, ColumnType, Present};

/// One source column in its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlanColumn {
    /// Name as the target spells it: StarRocks matches JSON keys by case.
    pub(super) name: String,
    /// `,"name":`.
    pub(super) prefix: Prefix,
    pub(super) writer: Writer,
    /// The name of the field that the server makes the value from, if not the column's own.
    pub(super) sent_as: Option<String>,
    /// Whether the target column may be NULL.
    pub(super) nullable: bool,
    pub(super) key: bool,
    /// Whether a part of a value's text is still text of its type.
    pub(super) prose: bool,
    /// What becomes of values it cannot hold.
    pub(super) policies: Policies,
}

impl PlanColumn {
    /// A column that blocks its table for every value it cannot hold.
    pub(super) fn new(name: &str, writer: Writer, nullable: bool, key: bool) -> Self {
        let policies = Policies::all(Policy::Block);
        PlanColumn {
            name: name.to_owned(),
            prefix: Prefix::new(name),
            writer,
            sent_as: None,
            nullable,
            key,
            prose: false,
            policies,
        }
    }

    /// With these policies for values of `ty`, as far as the column can follow them.
    pub(super) fn with_policies(self, policies: &Policies, ty: &ColumnType) -> Self {
        let column = PlanColumn { prose: is_prose(ty), ..self };
        PlanColumn { policies: policies.in_column(&column.abilities()), ..column }
    }

    /// What its policies could be.
    pub(super) fn abilities(&self) -> Abilities {
        Abilities { writer: self.writer, nullable: self.nullable, key: self.key, prose: self.prose }
    }

    /// Its values travel as hexadecimal digits in a field of that name.
    pub(super) fn sent_as(self, field: String) -> Self {
        PlanColumn { prefix: Prefix::new(&field), sent_as: Some(field), ..self }
    }
}

/// What stands before each value of a column: `,"name":` with the name escaped.
///
/// A row has as many as columns, and a copy of so few bytes whose number is not known when the code is compiled costs
/// more in being called than in copying. So a short one is copied with what follows it up to a fixed size, which is
/// then taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    padded: [u8; PREFIX_SHORT],
    length: usize,
    /// The whole of it, if it is longer than that.
    long: Option<Box<[u8]>>,
}

/// Most bytes of a short prefix.
const PREFIX_SHORT: usize = 32;

impl Prefix {
    fn new(name: &str) -> Prefix {
        let mut bytes = vec![b','];
        escape::string(name.as_bytes(), &mut bytes);
        bytes.push(b':');
        let (mut padded, length) = ([0; PREFIX_SHORT], bytes.len());
        match padded.get_mut(..length) {
            Some(short) => {
                short.copy_from_slice(&bytes);
                Prefix { padded, length, long: None }
            }
            None => Prefix { padded, length, long: Some(bytes.into_boxed_slice()) },
        }
    }

    /// Appends it.
    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match &self.long {
            None => {
                let end = out.len() + self.length;
                out.extend_from_slice(&self.padded);
                out.truncate(end);
            }
            Some(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// The audit columns, as the target spells them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Audit {
    /// 0 insert, 1 update, 2 delete.
    pub(super) op_type: String,
    pub(super) is_deleted: String,
    /// When the load's ticket was made, UTC.
    pub(super) synced_at: String,
    /// Commit LSN.
    pub(super) cdc_version: String,
}

impl Audit {
    /// The names in the order they are written.
    pub(super) fn names(&self) -> [&str; 4] {
        [&self.op_type, &self.is_deleted, &self.synced_at, &self.cdc_version]
    }
}

/// How the rows of one table are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// One for each source column, in the order rows carry them.
    pub(super) columns: Vec<PlanColumn>,
    /// Positions of the key columns in key order.
    pub(super) key: Vec<usize>,
    pub(super) audit: Option<Audit>,
    /// Deletes remove rows.
    pub(super) hard_deletes: bool,
    /// Every column of the target besides the key may be NULL, so that a row that brings the key alone is accepted.
    pub(super) key_alone_fits: bool,
}

/// What the headers of a load say of its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ColumnHeaders {
    /// `partial_update`.
    pub(super) partial: bool,
    /// `columns`; absent if every column of the table is meant.
    pub(super) columns: Option<String>,
}

impl Plan {
    /// Whether a body may hold other values than the source's.
    pub(super) fn may_change_values(&self) -> bool {
        self.columns.iter().any(|column| !column.policies.all_block())
    }

    /// Which source columns the rows (not the deletes) of such a load bring.
    pub(super) fn included(&self, present: &Present) -> Vec<bool> {
        match present {
            Present::All => vec![true; self.columns.len()],
            Present::KeyOnly => self.columns.iter().map(|column| column.key).collect(),
            Present::Only(set) => self.with_key(set),
        }
    }

    fn with_key(&self, set: &ColumnSet) -> Vec<bool> {
        self.columns.iter().enumerate().map(|(at, column)| column.key || set.contains(at)).collect()
    }

    /// The headers for such a load.
    ///
    /// Without `columns` StarRocks takes every column of the table, and an absent JSON key is NULL. With
    /// `partial_update` it keeps what `columns` does not name, and accepts a row that lacks NOT NULL columns (StarRocks
    /// documentation, "Change data through loading"). A value that the server makes from a field is named with how,
    /// and then all others must be named too.
    pub(super) fn headers(&self, present: &Present) -> ColumnHeaders {
        let delete_rows = *present == Present::KeyOnly && self.hard_deletes;
        let whole = *present == Present::All || (delete_rows && self.key_alone_fits);
        let included = self.included(present);
        let source = || self.columns.iter().zip(&included).filter(|(_, included)| **included).map(|(column, _)| column);
        if whole && !source().any(|column| column.sent_as.is_some()) {
            return ColumnHeaders::default();
        }
        let fields = source().map(|column| quoted(column.sent_as.as_deref().unwrap_or(&column.name)));
        let audit = self.audit.iter().filter(|_| !delete_rows).flat_map(|audit| audit.names()).map(quoted);
        let op = delete_rows.then(|| quoted("__op"));
        let made = source().filter_map(|column| {
            let field = quoted(column.sent_as.as_deref()?);
            Some(format!("{}=to_binary({field},'hex')", quoted(&column.name)))
        });
        let names: Vec<String> = fields.chain(audit).chain(op).chain(made).collect();
        ColumnHeaders { partial: !whole, columns: Some(names.join(",")) }
    }
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_any_length_are_written() {
        for length in 0..80 {
            let name = "é\"x".repeat(length);
            let mut written = b"1".to_vec();
            Prefix::new(&name).write(&mut written);
            assert_eq!(written, format!("1,{}:", sonic_rs::to_string(&name).unwrap()).into_bytes());
        }
    }

    #[test]
    fn bytes_travel_as_digits_in_a_field_of_their_own() {
        let id = PlanColumn::new("id", Writer::Int(64), false, true);
        let note = PlanColumn::new("note", Writer::Text(10), true, false);
        let bytes = PlanColumn::new("b`c", Writer::Hex(10), true, false).sent_as("b`c__hex".into());
        let mut written = b"1".to_vec();
        bytes.prefix.write(&mut written);
        assert_eq!((bytes.name.as_str(), &written[..]), ("b`c", &b"1,\"b`c__hex\":"[..]));
        let plan = Plan {
            columns: vec![id, note, bytes],
            key: vec![0],
            audit: Some(Audit {
                op_type: "o".into(),
                is_deleted: "d".into(),
                synced_at: "s".into(),
                cdc_version: "v".into(),
            }),
            hard_deletes: true,
            key_alone_fits: true,
        };
        let made = "`b``c`=to_binary(`b``c__hex`,'hex')";
        let cases = [
            (Present::All, false, Some(format!("`id`,`note`,`b``c__hex`,`o`,`d`,`s`,`v`,{made}"))),
            (Present::Only(ColumnSet::from_iter([0, 1])), true, Some("`id`,`note`,`o`,`d`,`s`,`v`".to_owned())),
            (Present::Only(ColumnSet::from_iter([2])), true, Some(format!("`id`,`b``c__hex`,`o`,`d`,`s`,`v`,{made}"))),
            (Present::KeyOnly, false, None),
        ];
        for (present, partial, columns) in cases {
            assert_eq!(plan.headers(&present), ColumnHeaders { partial, columns }, "{present:?}");
        }
    }
}
