//! Which known name a misspelt one is closest to.

/// The known name with the fewest slips (a letter added, left out, replaced, or two neighbours swapped) from `name`,
/// if it is close enough to be meant: up to `slips_max`, and fewer than half of its letters.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>, slips_max: usize) -> Option<&'a str> {
    known
        .map(|candidate| (slips(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(slips, candidate)| *slips <= slips_max && slips * 2 < candidate.len())
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// The optimal string alignment distance.
fn slips(a: &[u8], b: &[u8]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        let cases = [
            ("", "", 0),
            ("", "abc", 3),
            ("FLUSH_SIZE", "FLUSH_SIZE", 0),
            ("FLUSH_SZIE", "FLUSH_SIZE", 1),
            ("FLUSHSIZE", "FLUSH_SIZE", 1),
            ("FLUSH_SIZES", "FLUSH_SIZE", 1),
            ("FLUSH_SIDE", "FLUSH_SIZE", 1),
            ("kitten", "sitting", 3),
        ];
        for (a, b, want) in cases {
            assert_eq!(slips(a.as_bytes(), b.as_bytes()), want, "{a} {b}");
            assert_eq!(slips(b.as_bytes(), a.as_bytes()), want, "{b} {a}");
        }
    }

    #[test]
    fn only_what_may_be_meant_is_suggested() {
        let known = ["SINK_URL", "SINK_USER", "SOURCE_URL"];
        let cases = [("SINK_ULR", Some("SINK_URL")), ("SINK_USR", Some("SINK_USER")), ("SINK_COLOUR", None)];
        for (name, want) in cases {
            assert_eq!(nearest(name, known.into_iter(), 2), want, "{name}");
        }
    }
}
