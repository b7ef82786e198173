//! The grammar of `ON_BAD_VALUE`: a policy for all classes of values, and others for some of them.
//!
//! In: `block,numeric_range=clamp,json_number=text`. Out: [`Policies`]. Always: what [`print`] writes, [`parse`] reads
//! back as the same; an error says what was expected, and which name may be meant.

use super::nearest::nearest;
use crate::sink::starrocks::{BadClass, CLASSES, Policies, Policy};

/// Slips in a name that is still recognised.
const SLIPS_MAX: usize = 3;

/// Reads the setting.
///
/// # Errors
/// The first entry that is wrong, by its place, and what it could have been.
pub(super) fn parse(text: &str) -> Result<Policies, String> {
    let (mut for_all, mut own) = (None, Vec::<(BadClass, Policy)>::new());
    for (place, entry) in text.split(',').map(str::trim).enumerate().map(|(index, entry)| (index + 1, entry)) {
        match entry.split_once('=') {
            None => {
                let policy = policy(place, entry)?;
                if for_all.replace(policy).is_some() {
                    return Err(format!("entry {place} is a second policy for all classes"));
                }
            }
            Some((class, policy_name)) => {
                let (class, policy) = (class_of(place, class)?, policy(place, policy_name)?);
                if own.iter().any(|(known, _)| *known == class) {
                    return Err(format!("entry {place} names a class that an earlier entry names"));
                }
                own.push((class, policy));
            }
        }
    }
    own.into_iter().try_fold(Policies::all(for_all.unwrap_or(Policy::Block)), |policies, (class, policy)| {
        policies.with(class, policy).ok_or_else(|| {
            let row = class.row();
            format!("has {}={}, but {} takes only {}", row.name, policy.name(), row.name, row.policies().join(", "))
        })
    })
}

/// Writes the policies: the one that most says with the fewest words first, then the classes that differ.
pub(super) fn print(policies: &Policies) -> String {
    let differing = |for_all: Policy| {
        let held = Policies::all(for_all);
        CLASSES.iter().filter(move |row| policies.of(row.class) != held.of(row.class))
    };
    let for_all = Policy::ALL.into_iter().min_by_key(|policy| differing(*policy).count()).unwrap_or(Policy::Block);
    let own = differing(for_all).map(|row| format!("{}={}", row.name, policies.of(row.class).name()));
    std::iter::once(for_all.name().to_owned()).chain(own).collect::<Vec<_>>().join(",")
}

fn policy(place: usize, name: &str) -> Result<Policy, String> {
    let name = name.trim().to_ascii_lowercase();
    let names = Policy::ALL.map(Policy::name);
    Policy::ALL.into_iter().find(|policy| policy.name() == name).ok_or_else(|| {
        let meant = nearest(&name, names.into_iter(), SLIPS_MAX);
        let class = nearest(&name, CLASSES.iter().map(|row| row.name), SLIPS_MAX);
        match (meant, class) {
            (Some(meant), _) => format!("entry {place} names no policy; did you mean {meant}?"),
            (None, Some(class)) => {
                format!("entry {place} has no policy; write {class}=block, {class}=null or the like")
            }
            (None, None) => format!("entry {place} names no policy: there are {}", names.join(", ")),
        }
    })
}

fn class_of(place: usize, name: &str) -> Result<BadClass, String> {
    let name = name.trim().to_ascii_lowercase();
    let names = || CLASSES.iter().map(|row| row.name);
    CLASSES.iter().find(|row| row.name == name).map(|row| row.class).ok_or_else(|| {
        match nearest(&name, names(), SLIPS_MAX) {
            Some(meant) => format!("entry {place} names no class of values; did you mean {meant}?"),
            None => {
                format!("entry {place} names no class of values: there are {}", names().collect::<Vec<_>>().join(", "))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn policies_are_read() {
        use BadClass::{DateRange, JsonNumber, JsonSize, NumericNan, NumericRange};
        use Policy::{Block, Clamp, Null, Text};
        // text, some of what it says, how it is printed
        let cases: [(&str, &[(BadClass, Policy)], &str); 8] = [
            ("block", &[(NumericRange, Block), (JsonNumber, Block)], "block"),
            ("NULL", &[(NumericRange, Null), (JsonSize, Null)], "null"),
            ("clamp", &[(NumericRange, Clamp), (NumericNan, Block), (JsonSize, Block)], "clamp"),
            ("text", &[(NumericRange, Block), (JsonNumber, Text)], "text"),
            (
                "block,numeric_range=clamp,json_number=text",
                &[(NumericRange, Clamp), (JsonNumber, Text), (DateRange, Block)],
                "block,numeric_range=clamp,json_number=text",
            ),
            (
                " json_number = Text , Numeric_Range=clamp ",
                &[(NumericRange, Clamp), (JsonNumber, Text), (DateRange, Block)],
                "block,numeric_range=clamp,json_number=text",
            ),
            ("date_range=block,null", &[(DateRange, Block), (NumericRange, Null)], "null,date_range=block"),
            ("null,date_range=null", &[(DateRange, Null)], "null"),
        ];
        for (text, want, printed) in cases {
            let policies = parse(text).unwrap();
            for (class, policy) in want {
                assert_eq!(policies.of(*class), *policy, "{text}: {class:?}");
            }
            assert_eq!(print(&policies), printed, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_may_be_meant() {
        let cases = [
            ("", "entry 1 names no policy: there are block, null, clamp, text"),
            ("skip", "entry 1 names no policy: there are block, null, clamp, text"),
            ("blok", "entry 1 names no policy; did you mean block?"),
            ("numeric_range", "entry 1 has no policy; write numeric_range=block, numeric_range=null or the like"),
            ("null,", "entry 2 names no policy: there are block, null, clamp, text"),
            ("null,block", "entry 2 is a second policy for all classes"),
            ("null,numric_range=clamp", "entry 2 names no class of values; did you mean numeric_range?"),
            ("date_range=clmap", "entry 1 names no policy; did you mean clamp?"),
            ("date_range=null,date_range=null", "entry 2 names a class that an earlier entry names"),
            ("numeric_nan=clamp", "has numeric_nan=clamp, but numeric_nan takes only block, null"),
            ("date_range=text", "has date_range=text, but date_range takes only block, null, clamp"),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text), Err(want.to_owned()), "{text:?}");
        }
        let unknown = parse("colour=null").unwrap_err();
        assert!(CLASSES.iter().all(|row| unknown.contains(row.name)), "{unknown}");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(for_all in 0_usize..4, own in proptest::collection::vec((0..CLASSES.len(), 0_usize..4), 0..20)) {
            let mut policies = Policies::all(Policy::ALL[for_all]);
            for (class, policy) in own {
                policies = policies.with(CLASSES[class].class, Policy::ALL[policy]).unwrap_or(policies);
            }
            prop_assert_eq!(parse(&print(&policies)), Ok(policies));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
