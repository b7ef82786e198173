//! PostgreSQL's types as kinds of values.
//!
//! In: a type as the catalog or the stream names it. Out: the [`ColumnType`] of its values. Always: built-in types go
//! by number, types of extensions by name in whatever schema they live, domains by what they rest on; what is not
//! known is carried as text. Not here: reading the catalog (`catalog`). Start at [`Types::resolve`].

use std::collections::HashMap;

use crate::model::ColumnType;

/// What atttypmod adds to a declared length, precision or scale (`VARHDRSZ` in PostgreSQL's source).
const TYPMOD_OFFSET: i32 = 4;
/// What stands between the elements of nearly every array (`typdelim`).
const COMMA: u8 = b',';

/// A built-in type.
struct BuiltIn {
    oid: u32,
    /// Of arrays of it; 0 if there is none.
    array: u32,
    /// In `pg_type`.
    name: &'static str,
    /// As one writes it in SQL.
    spelled: &'static str,
    delimiter: u8,
    /// From `atttypmod`.
    kind: fn(i32) -> ColumnType,
}

const fn row(oid: u32, array: u32, name: &'static str, spelled: &'static str, kind: fn(i32) -> ColumnType) -> BuiltIn {
    BuiltIn { oid, array, name, spelled, delimiter: COMMA, kind }
}

/// The types of `pg_type.dat` that columns can have and that do not go by [`ColumnType::Other`], and beside them those
/// that a reader of the reference looks for.
const BUILT_IN: &[BuiltIn] = &[
    row(16, 1000, "bool", "boolean", |_| ColumnType::Bool),
    row(21, 1005, "int2", "smallint", |_| ColumnType::Int16),
    row(23, 1007, "int4", "integer", |_| ColumnType::Int32),
    row(20, 1016, "int8", "bigint", |_| ColumnType::Int64),
    row(700, 1021, "float4", "real", |_| ColumnType::Float32),
    row(701, 1022, "float8", "double precision", |_| ColumnType::Float64),
    row(1700, 1231, "numeric", "numeric", |typmod| ColumnType::Numeric { digits: digits(typmod) }),
    row(790, 791, "money", "money", |_| ColumnType::Money),
    row(25, 1009, "text", "text", |_| ColumnType::Text),
    row(1043, 1015, "varchar", "varchar(n)", |typmod| ColumnType::Varchar { chars: length(typmod) }),
    // A bpchar without length is unbounded and not padded: it is a text.
    row(1042, 1014, "bpchar", "char(n)", |typmod| {
        length(typmod).map_or(ColumnType::Text, |chars| ColumnType::Char { chars })
    }),
    row(19, 1003, "name", "name", |_| ColumnType::Name),
    row(18, 1002, "char", "\"char\"", |_| ColumnType::Byte),
    row(17, 1001, "bytea", "bytea", |_| ColumnType::Bytea),
    row(1082, 1182, "date", "date", |_| ColumnType::Date),
    row(1114, 1115, "timestamp", "timestamp", |_| ColumnType::Timestamp),
    row(1184, 1185, "timestamptz", "timestamptz", |_| ColumnType::TimestampTz),
    row(1083, 1183, "time", "time", |_| ColumnType::Time),
    row(1266, 1270, "timetz", "timetz", |_| ColumnType::TimeTz),
    row(1186, 1187, "interval", "interval", |_| ColumnType::Interval),
    row(2950, 2951, "uuid", "uuid", |_| ColumnType::Uuid),
    row(114, 199, "json", "json", |_| ColumnType::Json),
    row(3802, 3807, "jsonb", "jsonb", |_| ColumnType::Jsonb),
    row(142, 143, "xml", "xml", |_| ColumnType::Xml),
    row(1560, 1561, "bit", "bit(n)", |typmod| ColumnType::Bit { digits: bits(typmod).unwrap_or(1) }),
    row(1562, 1563, "varbit", "bit varying(n)", |typmod| ColumnType::VarBit { digits: bits(typmod) }),
    row(869, 1041, "inet", "inet", |_| ColumnType::Inet),
    row(650, 651, "cidr", "cidr", |_| ColumnType::Inet),
    row(829, 1040, "macaddr", "macaddr", |_| ColumnType::MacAddr),
    row(774, 775, "macaddr8", "macaddr8", |_| ColumnType::MacAddr8),
    row(26, 1028, "oid", "oid", |_| ColumnType::UInt32),
    row(28, 1011, "xid", "xid", |_| ColumnType::UInt32),
    row(29, 1012, "cid", "cid", |_| ColumnType::UInt32),
    row(5069, 271, "xid8", "xid8", |_| ColumnType::UInt64),
    row(3220, 3221, "pg_lsn", "pg_lsn", |_| ColumnType::LogPosition),
    row(3904, 3905, "int4range", "int4range", |_| ColumnType::Range),
    row(3926, 3927, "int8range", "int8range", |_| ColumnType::Range),
    row(3906, 3907, "numrange", "numrange", |_| ColumnType::Range),
    row(3908, 3909, "tsrange", "tsrange", |_| ColumnType::Range),
    row(3910, 3911, "tstzrange", "tstzrange", |_| ColumnType::Range),
    row(3912, 3913, "daterange", "daterange", |_| ColumnType::Range),
    row(4451, 6150, "int4multirange", "int4multirange", |_| ColumnType::Multirange),
    row(4536, 6157, "int8multirange", "int8multirange", |_| ColumnType::Multirange),
    row(4532, 6151, "nummultirange", "nummultirange", |_| ColumnType::Multirange),
    row(4533, 6152, "tsmultirange", "tsmultirange", |_| ColumnType::Multirange),
    row(4534, 6153, "tstzmultirange", "tstzmultirange", |_| ColumnType::Multirange),
    row(4535, 6155, "datemultirange", "datemultirange", |_| ColumnType::Multirange),
    row(600, 1017, "point", "point", |_| ColumnType::Other("point".into())),
    row(628, 629, "line", "line", |_| ColumnType::Other("line".into())),
    row(601, 1018, "lseg", "lseg", |_| ColumnType::Other("lseg".into())),
    BuiltIn { delimiter: b';', ..row(603, 1020, "box", "box", |_| ColumnType::Other("box".into())) },
    row(602, 1019, "path", "path", |_| ColumnType::Other("path".into())),
    row(604, 1027, "polygon", "polygon", |_| ColumnType::Other("polygon".into())),
    row(718, 719, "circle", "circle", |_| ColumnType::Other("circle".into())),
    row(3614, 3643, "tsvector", "tsvector", |_| ColumnType::Other("tsvector".into())),
    row(3615, 3645, "tsquery", "tsquery", |_| ColumnType::Other("tsquery".into())),
    row(4072, 4073, "jsonpath", "jsonpath", |_| ColumnType::Other("jsonpath".into())),
    row(27, 1010, "tid", "tid", |_| ColumnType::Other("tid".into())),
    row(2205, 2210, "regclass", "regclass", |_| ColumnType::Other("regclass".into())),
    row(2206, 2211, "regtype", "regtype", |_| ColumnType::Other("regtype".into())),
    row(5038, 5039, "pg_snapshot", "pg_snapshot", |_| ColumnType::Other("pg_snapshot".into())),
];

/// A type of an extension, whose number differs from database to database.
struct Extension {
    name: &'static str,
    /// The extension it comes with.
    of: &'static str,
    delimiter: u8,
    kind: fn() -> ColumnType,
}

const fn extension(name: &'static str, of: &'static str, kind: fn() -> ColumnType) -> Extension {
    Extension { name, of, delimiter: COMMA, kind }
}

/// The types of extensions that do not go by [`ColumnType::Other`], and beside them those that a reader of the
/// reference looks for.
const EXTENSIONS: &[Extension] = &[
    extension("citext", "citext", || ColumnType::TextIgnoringCase),
    extension("hstore", "hstore", || ColumnType::Hstore),
    extension("ltree", "ltree", || ColumnType::Other("ltree".into())),
    Extension { delimiter: b':', ..extension("geometry", "PostGIS", || ColumnType::Geometry) },
    Extension { delimiter: b':', ..extension("geography", "PostGIS", || ColumnType::Geometry) },
    extension("vector", "pgvector", || ColumnType::Vector),
    extension("halfvec", "pgvector", || ColumnType::Vector),
    extension("sparsevec", "pgvector", || ColumnType::Other("sparsevec".into())),
];

/// A type as `pg_type` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypeRow {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// `typtype`: `b`ase, `c`omposite, `d`omain, `e`num, `r`ange, `m`ultirange.
    pub(super) class: char,
    /// What a domain rests on, and the modifier it gives it; 0 if it is none.
    pub(super) base: u32,
    pub(super) base_typmod: i32,
    /// The type of the elements if it is an array in the proper sense, else 0. (`int2vector` and `point` have elements
    /// too, but are written in another way.)
    pub(super) element: u32,
    /// What stands between the elements.
    pub(super) delimiter: u8,
}

impl TypeRow {
    fn is_system(&self) -> bool {
        self.schema == "pg_catalog"
    }

    /// Its name: bare for types of `pg_catalog`, else with its schema.
    fn full_name(&self) -> String {
        if self.is_system() { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }
}

/// The types that columns have, and those that they rest on, by OID.
#[derive(Clone, Debug, Default)]
pub(super) struct Types(HashMap<u32, TypeRow>);

impl FromIterator<TypeRow> for Types {
    fn from_iter<I: IntoIterator<Item = TypeRow>>(rows: I) -> Self {
        Types(rows.into_iter().map(|row| (row.oid, row)).collect())
    }
}

impl Types {
    /// The kind of value of a column of this type, `typmod` being its `atttypmod`, -1 if it has none.
    pub(super) fn resolve(&self, oid: u32, typmod: i32) -> ColumnType {
        if let Some(kind) = by_number(oid, typmod) {
            return kind;
        }
        let Some(row) = self.0.get(&oid) else { return ColumnType::Other(format!("oid {oid}")) };
        match row.class {
            // A domain of a domain: the outer modifier counts, and only one of them can have any.
            'd' => self.resolve(row.base, if typmod < 0 { row.base_typmod } else { typmod }),
            'e' => ColumnType::Enum,
            'c' => ColumnType::Composite,
            'r' => ColumnType::Range,
            'm' => ColumnType::Multirange,
            _ if row.element != 0 => array(self.resolve(row.element, typmod), row.delimiter),
            _ if row.is_system() => ColumnType::Other(row.full_name()),
            _ => by_extension(&row.name).map_or_else(|| ColumnType::Other(row.full_name()), |row| (row.kind)()),
        }
    }
}

/// The kind of a type that the stream names, for a column that setup has not seen: the stream tells number and name
/// (of what a domain rests on, which has no number of its own then), and nothing more.
pub(super) fn by_stream(oid: u32, typmod: i32, named: Option<(&str, &str)>) -> ColumnType {
    let other = || match named {
        None => format!("oid {oid}"),
        Some(("", name)) => name.to_owned(),
        Some((schema, name)) => format!("{schema}.{name}"),
    };
    let kind = by_number(oid, typmod).or_else(|| match named? {
        ("", name) => {
            let array_of = |row: &BuiltIn| name.strip_prefix('_') == Some(row.name);
            let found = BUILT_IN.iter().find(|row| row.name == name || array_of(row))?;
            // A domain's modifier is not sent: the column's own is always -1.
            by_number(if found.name == name { found.oid } else { found.array }, -1)
        }
        (_, name) => match (by_extension(name), name.strip_prefix('_').and_then(by_extension)) {
            (Some(row), _) => Some((row.kind)()),
            (None, Some(row)) => Some(array((row.kind)(), row.delimiter)),
            (None, None) => None,
        },
    });
    kind.unwrap_or_else(|| ColumnType::Other(other()))
}

fn by_number(oid: u32, typmod: i32) -> Option<ColumnType> {
    let row = BUILT_IN.iter().find(|row| row.oid == oid || row.array == oid)?;
    let kind = (row.kind)(typmod);
    Some(if row.oid == oid { kind } else { array(kind, row.delimiter) })
}

fn by_extension(name: &str) -> Option<&'static Extension> {
    EXTENSIONS.iter().find(|row| row.name == name)
}

/// The elements of an array of a domain of arrays are written as text within the outer one.
fn array(element: ColumnType, delimiter: u8) -> ColumnType {
    let element = match element {
        ColumnType::Array { .. } => ColumnType::Other("array".into()),
        element => element,
    };
    ColumnType::Array { element: Box::new(element), delimiter }
}

/// Every type there is a rule for, as one writes it in SQL, with the kind of its values: for the reference of types.
pub fn type_names() -> Vec<(String, ColumnType)> {
    let mut names = Vec::new();
    for row in BUILT_IN {
        match row.name {
            "numeric" => {
                names.push(("numeric(10,2)".to_owned(), ColumnType::Numeric { digits: Some((10, 2)) }));
                names.push(("numeric(50,2)".to_owned(), ColumnType::Numeric { digits: Some((50, 2)) }));
                names.push(("numeric".to_owned(), ColumnType::Numeric { digits: None }));
            }
            "varchar" => {
                names.push(("varchar(20)".to_owned(), ColumnType::Varchar { chars: Some(20) }));
                names.push(("varchar".to_owned(), ColumnType::Varchar { chars: None }));
            }
            "bpchar" => names.push(("char(10)".to_owned(), ColumnType::Char { chars: 10 })),
            "bit" => names.push(("bit(8)".to_owned(), ColumnType::Bit { digits: 8 })),
            "varbit" => {
                names.push(("bit varying(8)".to_owned(), ColumnType::VarBit { digits: Some(8) }));
                names.push(("bit varying".to_owned(), ColumnType::VarBit { digits: None }));
            }
            _ => names.push((row.spelled.to_owned(), (row.kind)(-1))),
        }
    }
    names.extend([
        ("an enum".to_owned(), ColumnType::Enum),
        ("a composite type".to_owned(), ColumnType::Composite),
        ("a range type of one's own".to_owned(), ColumnType::Range),
        ("integer[]".to_owned(), array(ColumnType::Int32, COMMA)),
        ("numeric[]".to_owned(), array(ColumnType::Numeric { digits: None }, COMMA)),
        ("text[]".to_owned(), array(ColumnType::Text, COMMA)),
        ("timestamptz[]".to_owned(), array(ColumnType::TimestampTz, COMMA)),
        ("jsonb[]".to_owned(), array(ColumnType::Jsonb, COMMA)),
    ]);
    names.extend(EXTENSIONS.iter().map(|row| (format!("{} ({})", row.name, row.of), (row.kind)())));
    names.push(("any other type".to_owned(), ColumnType::Other("other".into())));
    names
}

fn length(typmod: i32) -> Option<u32> {
    typmod.checked_sub(TYPMOD_OFFSET).and_then(|chars| u32::try_from(chars).ok())
}

/// A bit string's modifier is its length as it is.
fn bits(typmod: i32) -> Option<u32> {
    u32::try_from(typmod).ok()
}

/// `numeric_typmod_precision` and `numeric_typmod_scale` of PostgreSQL's numeric.c: the precision in the upper 16
/// bits, the scale in the lower 11 as a number with sign.
fn digits(typmod: i32) -> Option<(u16, i16)> {
    let packed = typmod.checked_sub(TYPMOD_OFFSET).filter(|packed| *packed >= 0)?;
    let precision = (packed >> 16) as u16;
    let scale = ((packed & 0x7FF) ^ 1024) - 1024;
    Some((precision, scale as i16))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn numeric(precision: u16, scale: i16) -> ColumnType {
        ColumnType::Numeric { digits: Some((precision, scale)) }
    }

    fn type_row(oid: u32, name: &str, class: char, base: (u32, i32), element: u32) -> TypeRow {
        let schema = if oid < 16_384 { "pg_catalog" } else { "shop" };
        TypeRow {
            oid,
            schema: schema.into(),
            name: name.into(),
            class,
            base: base.0,
            base_typmod: base.1,
            element,
            delimiter: COMMA,
        }
    }

    #[test]
    fn types_are_resolved_with_their_modifiers() {
        // Modifiers as PostgreSQL 15 stores them in pg_attribute.
        let cases = [
            (16, -1, ColumnType::Bool),
            (23, -1, ColumnType::Int32),
            (18, -1, ColumnType::Byte),
            (1042, 5, ColumnType::Char { chars: 1 }),
            (1042, -1, ColumnType::Text),
            (1043, 84, ColumnType::Varchar { chars: Some(80) }),
            (1043, -1, ColumnType::Varchar { chars: None }),
            (1043, i32::MIN, ColumnType::Varchar { chars: None }),
            (1560, 1, ColumnType::Bit { digits: 1 }),
            (1560, 8, ColumnType::Bit { digits: 8 }),
            (1562, -1, ColumnType::VarBit { digits: None }),
            (1562, 20, ColumnType::VarBit { digits: Some(20) }),
            (1700, -1, ColumnType::Numeric { digits: None }),
            (1700, 655_366, numeric(10, 2)),
            (1700, 65_536_004, numeric(1000, 0)),
            (1700, 133_121, numeric(2, -3)),
            (1700, 196_617, numeric(3, 5)),
            (1700, 197_660, numeric(3, -1000)),
            (2951, -1, array(ColumnType::Uuid, b',')),
            (1231, 655_366, array(numeric(10, 2), b',')),
            (1015, 84, array(ColumnType::Varchar { chars: Some(80) }, b',')),
            (1020, -1, array(ColumnType::Other("box".into()), b';')),
            (5069, -1, ColumnType::UInt64),
            (4451, -1, ColumnType::Multirange),
            (22, -1, ColumnType::Other("oid 22".into())),
        ];
        let none = Types::default();
        for (oid, typmod, want) in cases {
            assert_eq!(none.resolve(oid, typmod), want, "{oid} {typmod}");
            assert_eq!(by_stream(oid, typmod, None), want, "{oid} {typmod} in the stream");
        }
    }

    #[test]
    fn types_of_a_database_are_resolved_to_what_they_rest_on() {
        let none = (0, -1);
        let types = Types::from_iter([
            type_row(20_001, "mood", 'e', none, 0),
            type_row(20_002, "_mood", 'b', none, 20_001),
            type_row(20_003, "price", 'd', (1700, 655_366), 0),
            type_row(20_004, "net_price", 'd', (20_003, -1), 0),
            type_row(20_005, "_net_price", 'b', none, 20_004),
            type_row(20_006, "prices", 'd', (1231, 655_366), 0),
            type_row(20_007, "_prices", 'b', none, 20_006),
            type_row(20_008, "place", 'c', none, 0),
            type_row(20_009, "span", 'r', none, 0),
            type_row(20_010, "spans", 'm', none, 0),
            type_row(20_011, "hstore", 'b', none, 0),
            type_row(20_012, "_hstore", 'b', none, 20_011),
            type_row(20_013, "vector", 'c', none, 0),
            type_row(20_014, "unheard_of", 'b', none, 0),
            TypeRow { delimiter: b':', ..type_row(20_015, "_geometry", 'b', none, 20_016) },
            type_row(20_016, "geometry", 'b', none, 0),
            type_row(22, "int2vector", 'b', none, 0),
        ]);
        let cases = [
            (20_001, -1, ColumnType::Enum),
            (20_002, -1, array(ColumnType::Enum, b',')),
            (20_003, -1, numeric(10, 2)),
            (20_004, -1, numeric(10, 2)),
            (20_005, -1, array(numeric(10, 2), b',')),
            (20_006, -1, array(numeric(10, 2), b',')),
            (20_007, -1, array(ColumnType::Other("array".into()), b',')),
            (20_008, -1, ColumnType::Composite),
            (20_009, -1, ColumnType::Range),
            (20_010, -1, ColumnType::Multirange),
            (20_011, -1, ColumnType::Hstore),
            (20_012, -1, array(ColumnType::Hstore, b',')),
            (20_013, -1, ColumnType::Composite),
            (20_014, -1, ColumnType::Other("shop.unheard_of".into())),
            (20_015, -1, array(ColumnType::Geometry, b':')),
            (22, -1, ColumnType::Other("int2vector".into())),
        ];
        for (oid, typmod, want) in cases {
            assert_eq!(types.resolve(oid, typmod), want, "{oid}");
        }
    }

    #[test]
    fn the_streams_names_are_enough_for_built_in_types_and_extensions() {
        let cases = [
            ("", "int4", ColumnType::Int32),
            ("", "_int4", array(ColumnType::Int32, b',')),
            ("", "numeric", ColumnType::Numeric { digits: None }),
            ("", "cstring", ColumnType::Other("cstring".into())),
            ("anywhere", "hstore", ColumnType::Hstore),
            ("anywhere", "_geometry", array(ColumnType::Geometry, b':')),
            ("shop", "mood", ColumnType::Other("shop.mood".into())),
            ("shop", "int4", ColumnType::Other("shop.int4".into())),
        ];
        for (schema, name, want) in cases {
            assert_eq!(by_stream(20_000, -1, Some((schema, name))), want, "{schema}.{name}");
        }
    }

    #[test]
    fn each_number_and_name_is_told_once() {
        let mut numbers: Vec<u32> = BUILT_IN.iter().flat_map(|row| [row.oid, row.array]).collect();
        let mut names: Vec<&str> = BUILT_IN.iter().map(|row| row.name).collect();
        let all = (numbers.len(), names.len());
        numbers.sort_unstable();
        numbers.dedup();
        names.sort_unstable();
        names.dedup();
        assert_eq!((numbers.len(), names.len()), all);
    }
}
