//! PostgreSQL's types as kinds of values.

use crate::model::ColumnType;

/// What atttypmod adds to a declared length, precision or scale (`VARHDRSZ` in PostgreSQL's source).
const TYPMOD_OFFSET: i32 = 4;

/// The kind of value of a column, by the OIDs of `pg_type.dat`. `typmod` is the column's `atttypmod`, -1 if it has
/// none; `type_name` names the type where it has no kind of its own: bare for types of `pg_catalog`, else with its
/// schema. A domain's column is resolved by the caller: base type and the domain's own typmod.
pub(super) fn column_type(oid: u32, typmod: i32, type_name: &str) -> ColumnType {
    match oid {
        16 => ColumnType::Bool,
        17 => ColumnType::Bytea,
        20 => ColumnType::Int64,
        21 => ColumnType::Int16,
        23 => ColumnType::Int32,
        25 => ColumnType::Text,
        114 => ColumnType::Json,
        700 => ColumnType::Float32,
        701 => ColumnType::Float64,
        // A bpchar without length is unbounded and not padded: it is a text.
        1042 => length(typmod).map_or(ColumnType::Text, |chars| ColumnType::Char { chars }),
        1043 => ColumnType::Varchar { chars: length(typmod) },
        1082 => ColumnType::Date,
        1114 => ColumnType::Timestamp,
        1184 => ColumnType::TimestampTz,
        1700 => ColumnType::Numeric { digits: digits(typmod) },
        2950 => ColumnType::Uuid,
        3802 => ColumnType::Jsonb,
        _ => ColumnType::Other(type_name.to_owned()),
    }
}

/// The OID of the built-in type of that name, for types that [`column_type`] has a kind for.
pub(super) fn built_in(type_name: &str) -> Option<u32> {
    let oid = match type_name {
        "bool" => 16,
        "bytea" => 17,
        "int8" => 20,
        "int2" => 21,
        "int4" => 23,
        "text" => 25,
        "json" => 114,
        "float4" => 700,
        "float8" => 701,
        "bpchar" => 1042,
        "varchar" => 1043,
        "date" => 1082,
        "timestamp" => 1114,
        "timestamptz" => 1184,
        "numeric" => 1700,
        "uuid" => 2950,
        "jsonb" => 3802,
        _ => return None,
    };
    Some(oid)
}

fn length(typmod: i32) -> Option<u32> {
    typmod.checked_sub(TYPMOD_OFFSET).and_then(|chars| u32::try_from(chars).ok())
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

    #[test]
    fn types_are_resolved_with_their_modifiers() {
        let numeric = |precision, scale| ColumnType::Numeric { digits: Some((precision, scale)) };
        // Modifiers as PostgreSQL 15 stores them in pg_attribute.
        let cases = [
            (16, -1, ColumnType::Bool),
            (23, -1, ColumnType::Int32),
            (1042, 5, ColumnType::Char { chars: 1 }),
            (1042, -1, ColumnType::Text),
            (1043, 84, ColumnType::Varchar { chars: Some(80) }),
            (1043, -1, ColumnType::Varchar { chars: None }),
            (1043, i32::MIN, ColumnType::Varchar { chars: None }),
            (1700, -1, ColumnType::Numeric { digits: None }),
            (1700, 655_366, numeric(10, 2)),
            (1700, 65_536_004, numeric(1000, 0)),
            (1700, 133_121, numeric(2, -3)),
            (1700, 196_617, numeric(3, 5)),
            (1700, 197_660, numeric(3, -1000)),
            (2951, -1, ColumnType::Other("_uuid".into())),
        ];
        for (oid, typmod, want) in cases {
            assert_eq!(column_type(oid, typmod, "_uuid"), want, "{oid} {typmod}");
        }
    }
}
