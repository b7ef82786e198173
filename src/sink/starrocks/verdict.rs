//! Decides once what an answer means: loaded, ask, try again, slow down, or wait for a person.
//!
//! In: the HTTP status, the answer's `Status`, and whether a byte of the body had been sent. Out: a [`Verdict`].
//! Always: `Loaded` only by the server's own word, and "nothing was loaded" only where that is certain. It reads
//! codes; for `Fail` the server gives nothing but text, and then one table decides. An HTTP 200 alone says nothing
//! (StarRocks documentation, STREAM LOAD, "Return value").

use super::reasons::Code;

/// What one answer looked like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) http: u32,
    /// `Status`; empty if there was no answer that could be read.
    pub(super) status: &'a str,
    pub(super) existing_job: Option<&'a str>,
    pub(super) message: &'a str,
    /// Whether any byte of a body had been handed to the connection.
    pub(super) body_begun: bool,
}

/// What it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every row is in, if the numbers agree.
    Loaded,
    /// It is in because an earlier try with this label was.
    LoadedBefore,
    /// It may be in: the state of its label tells, now or soon.
    AskAboutLabel,
    /// Nothing is in; it may pass by itself.
    Retry(Code),
    /// Nothing is in; the server has too many small loads to digest.
    SlowDown(Code),
    /// Nothing is in, and a person must act.
    Refused(Code),
}

use Verdict::{AskAboutLabel, Loaded, LoadedBefore, Refused, Retry, SlowDown};

/// Texts of `Fail` in lower case, the first match counts (StarRocks sources; the server gives no code). Any other
/// text may pass by itself.
const FAILURES: &[(&str, Verdict)] = &[
    ("transaction status unknown", AskAboutLabel),
    ("too many filtered rows", Refused(Code::FilteredRows)),
    ("primary key size exceed", Refused(Code::KeyTooLong)),
    ("only primary key table support partial update", Refused(Code::TableModel)),
    ("access denied", Refused(Code::Privilege)),
    ("no valid basic authorization", Refused(Code::Auth)),
    ("need auth information", Refused(Code::Auth)),
    ("unknown database", Refused(Code::Schema)),
    ("unknown table", Refused(Code::Schema)),
    ("column has no default value", Refused(Code::Schema)),
    ("mapping column is not in table", Refused(Code::Schema)),
    ("duplicate column", Refused(Code::Schema)),
    ("not in partial update columns", Refused(Code::Schema)),
    ("partial update on table with sort key", Refused(Code::Schema)),
    ("column with row table only support row mode", Refused(Code::Schema)),
    ("label format error", Refused(Code::Rejected)),
    ("there is no 100-continue header", Refused(Code::Rejected)),
    ("all partitions have no load data", Refused(Code::Rejected)),
    ("tablet is in error state", Refused(Code::Rejected)),
    ("size exceeds quota", Refused(Code::Quota)),
    ("the size of this batch exceed the max size", Refused(Code::BatchTooLarge)),
    ("streaming_load_max_mb", Refused(Code::BatchTooLarge)),
    ("current running txns on db", SlowDown(Code::Busy)),
    ("streamload txn num per be exceeds limit", SlowDown(Code::Busy)),
    ("too many versions", SlowDown(Code::Busy)),
    ("too large compaction score", SlowDown(Code::Busy)),
    ("http cuncurrent limit", SlowDown(Code::Busy)),
    ("memory of", Retry(Code::Busy)),
    ("memlimitexceeded", Retry(Code::Busy)),
    ("mem_limit_exceeded", Retry(Code::Busy)),
];

/// Decides.
pub(super) fn verdict(seen: &Seen<'_>) -> Verdict {
    match seen.status {
        "Success" => Loaded,
        // Committed by its own word; the label's state confirms it.
        "Publish Timeout" => AskAboutLabel,
        "Label Already Exists" if seen.existing_job == Some("FINISHED") => LoadedBefore,
        "Label Already Exists" => AskAboutLabel,
        _ if seen.http == 401 || seen.http == 403 => denied(seen.message),
        status if status.eq_ignore_ascii_case("fail") || status.eq_ignore_ascii_case("failed") => failed(seen),
        // A status this table does not know, after a body: nothing is certain.
        _ => by_http(seen),
    }
}

fn denied(message: &str) -> Verdict {
    // The frontend answers 401 both for a wrong password and for a missing INSERT privilege.
    let privilege = message.to_ascii_lowercase().contains("privilege");
    Refused(if privilege { Code::Privilege } else { Code::Auth })
}

fn failed(seen: &Seen<'_>) -> Verdict {
    let message = seen.message.to_ascii_lowercase();
    let known = FAILURES.iter().find(|(text, _)| message.contains(text));
    known.map_or(Retry(Code::Failed), |(_, verdict)| *verdict)
}

fn by_http(seen: &Seen<'_>) -> Verdict {
    match seen.http {
        400 | 404 | 405 | 410 | 411 | 414 | 415 | 417 | 431 | 501 => Refused(Code::Http),
        413 => Refused(Code::BatchTooLarge),
        429 => SlowDown(Code::Busy),
        // A gateway may have passed the body on before it gave up.
        _ if seen.body_begun => AskAboutLabel,
        _ => Retry(Code::Http),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let cases = [
            // http status                 existing job      body   want                     why
            (200, "Success", None, true, Loaded, "the plain case"),
            (200, "Publish Timeout", None, true, AskAboutLabel, "committed by its own word; the label confirms it"),
            (200, "Label Already Exists", Some("FINISHED"), true, LoadedBefore, "our own retry after a lost reply"),
            (200, "Label Already Exists", Some("RUNNING"), true, AskAboutLabel, "our first try may still be at work"),
            (200, "Label Already Exists", Some("CANCELLED"), true, AskAboutLabel, "only the label's state is certain"),
            (200, "Label Already Exists", None, true, AskAboutLabel, "an answer without the job's status"),
            (200, "INTERNAL_ERROR", None, true, AskAboutLabel, "a status nobody knows says nothing"),
            (200, "INTERNAL_ERROR", None, false, Retry(Code::Http), "without a body nothing can be in"),
            (200, "", None, true, AskAboutLabel, "an empty, cut or foreign body"),
            (200, "", None, false, Retry(Code::Http), "the same from a frontend"),
            (401, "FAILED", None, false, Refused(Code::Auth), "retrying cannot fix credentials"),
            (401, "", None, true, Refused(Code::Auth), "a backend or proxy that refuses them"),
            (403, "", None, false, Refused(Code::Auth), "the same"),
            (404, "", None, true, Refused(Code::Http), "not a StarRocks path"),
            (405, "", None, false, Refused(Code::Http), "not a StarRocks server"),
            (413, "", None, true, Refused(Code::BatchTooLarge), "a proxy's bound"),
            (429, "", None, true, SlowDown(Code::Busy), "a proxy's rate limit"),
            (500, "", None, false, Retry(Code::Http), "a frontend that is leaving"),
            (500, "FAILED", None, false, Retry(Code::Failed), "a frontend's own exception"),
            (503, "", None, false, Retry(Code::Http), "a frontend that is starting"),
            (502, "", None, true, AskAboutLabel, "a gateway may have passed the body on"),
            (504, "", None, true, AskAboutLabel, "the same"),
        ];
        for (http, status, existing_job, body_begun, want, why) in cases {
            let seen = Seen { http, status, existing_job, message: "", body_begun };
            assert_eq!(verdict(&seen), want, "{http} {status:?} {existing_job:?}: {why}");
        }
    }

    #[test]
    fn failures() {
        let cases = [
            ("too many filtered rows", Refused(Code::FilteredRows)),
            ("primary key size exceed the limit.", Refused(Code::KeyTooLong)),
            ("Only primary key table support partial update", Refused(Code::TableModel)),
            ("Access denied; you need (at least one of) the INSERT privilege(s) on TABLE t", Refused(Code::Privilege)),
            ("no valid Basic authorization", Refused(Code::Auth)),
            ("unknown database, database=shop", Refused(Code::Schema)),
            ("unknown table \"shop.orders\"", Refused(Code::Schema)),
            ("Column has no default value. column: c", Refused(Code::Schema)),
            ("key column id not in partial update columns", Refused(Code::Schema)),
            ("Label format error. regex: ^[-\\w]{1,128}$, label: x y", Refused(Code::Rejected)),
            ("class com.starrocks.common.DdlException: There is no 100-continue header", Refused(Code::Rejected)),
            ("all partitions have no load data", Refused(Code::Rejected)),
            ("Database[shop] data size exceeds quota[1 GB]", Refused(Code::Quota)),
            ("The size of this batch exceed the max size [104857600]  of json type data", Refused(Code::BatchTooLarge)),
            (
                "body size 9 exceed limit: 8. You can increase the limit by setting streaming_load_max_mb in be.conf.",
                Refused(Code::BatchTooLarge),
            ),
            ("current running txns on db 10006 is 1000, larger than limit 1000", SlowDown(Code::Busy)),
            ("streamload txn num per be exceeds limit", SlowDown(Code::Busy)),
            ("Failed because of too many versions, current/limit: 1001/1000.", SlowDown(Code::Busy)),
            ("because of too large compaction score, current/limit: 2001/2000", SlowDown(Code::Busy)),
            ("Memory of process exceed limit.", Retry(Code::Busy)),
            ("close index channel failed", Retry(Code::Failed)),
            ("[E1008]Reached timeout=60000ms", Retry(Code::Failed)),
            ("current fe is not master", Retry(Code::Failed)),
            ("class com.starrocks.common.DdlException: No backend alive.", Retry(Code::Failed)),
            ("Service is shutting down, please retry later!", Retry(Code::Failed)),
            ("Commit transaction fail cause x, Transaction status unknown, you can retry", AskAboutLabel),
            ("a text that nobody has seen before", Retry(Code::Failed)),
        ];
        for (message, want) in cases {
            for status in ["Fail", "FAILED"] {
                let seen = Seen { http: 200, status, existing_job: None, message, body_begun: true };
                assert_eq!(verdict(&seen), want, "{message}");
            }
        }
    }
}
