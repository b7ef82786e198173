//! What a frontend or backend answers, read leniently: nothing but a status is required.
//!
//! A load's result has `Status`; a frontend's own refusals have `Status` or, in their older shape, `status` and `msg`
//! (StarRocks, `be/src/runtime/stream_load/stream_load_context.cpp` and `RestBaseResult.java`). Keys that are unknown
//! are ignored, numbers that are missing stay unknown.

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

/// Most bytes of an answer that are read.
pub(super) const ANSWER_MAX: usize = 64 << 10;
/// Most characters of a server's text that are passed on.
const TEXT_MAX: usize = 300;

/// A load's result, or a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) existing_job: Option<String>,
    pub(super) message: String,
    pub(super) total_rows: Option<u64>,
    pub(super) loaded_rows: Option<u64>,
    pub(super) filtered_rows: Option<u64>,
    pub(super) error_url: Option<String>,
}

impl Answer {
    /// Reads a body; `None` if it is no JSON object with a status.
    pub(super) fn read(body: &[u8]) -> Option<Answer> {
        let value: Value = sonic_rs::from_slice(body).ok()?;
        let object = value.as_object()?;
        let text = |names: &[&str]| {
            let found = names.iter().find_map(|name| object.get(name)?.as_str());
            found.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let number = |name: &str| object.get(&name).and_then(|value| value.as_u64());
        Some(Answer {
            status: text(&["Status", "status"])?,
            existing_job: text(&["ExistingJobStatus"]),
            message: text(&["Message", "msg", "message"]).unwrap_or_default(),
            total_rows: number("NumberTotalRows"),
            loaded_rows: number("NumberLoadedRows"),
            filtered_rows: number("NumberFilteredRows"),
            error_url: text(&["ErrorURL"]),
        })
    }
}

/// The state of a label, as `get_load_state` tells it; `None` if the body does not.
pub(super) fn label_state(body: &[u8]) -> Option<String> {
    let value: Value = sonic_rs::from_slice(body).ok()?;
    let state = value.as_object()?.get(&"state")?.as_str()?;
    (!state.is_empty()).then(|| state.to_owned())
}

/// How many backends a cluster has, as `/api/health` tells it.
pub(super) fn backends(body: &[u8]) -> Option<u64> {
    let value: Value = sonic_rs::from_slice(body).ok()?;
    value.as_object()?.get(&"total_backend_num")?.as_u64()
}

/// A server's text made fit for a log: short and without control characters. For texts that hold no row values.
pub(super) fn one_line(text: &str) -> String {
    let shown: String = text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    shown.trim().to_owned()
}

/// A server's text made fit for a log: short, without control characters, and without the row values that StarRocks
/// puts between quotes or after `value:` and `Row:`. Quoted names that are in `known` stay.
pub(super) fn presentable(text: &str, known: &[&str]) -> String {
    let end = ["value:", "Row:", "row:"].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    let mut shown = String::new();
    for (at, part) in text[..end].split('\'').enumerate() {
        let quoted = at % 2 == 1;
        if at > 0 {
            shown.push('\'');
        }
        match quoted && !known.iter().any(|name| name.eq_ignore_ascii_case(part)) {
            true => shown.push('…'),
            false => shown.extend(part.chars().map(|c| if c.is_control() { ' ' } else { c })),
        }
    }
    one_line(&shown)
}

/// What a backend's error log says of the columns, without the rows it quotes: lines of `Error: <reason>. Row: <row>`.
/// Only names in `known` are told, so that nothing of a row can be taken for a name.
pub(super) fn columns_at_fault<'a>(log: &str, known: &[&'a str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for reason in log.lines().filter_map(|line| line.trim_start().strip_prefix("Error:")) {
        for (open, close) in [("The type of '", "'"), ("The max length of '", "'"), ("column '", "'"), ("column=", ",")]
        {
            let Some((_, after)) = reason.rsplit_once(open) else { continue };
            let Some((name, _)) = after.split_once(close) else { continue };
            if let Some(name) = known.iter().find(|known| known.eq_ignore_ascii_case(name))
                && !found.contains(name)
            {
                found.push(*name);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_leniently() {
        let full = r#"{"TxnId": 1007, "Label": "l", "Status": "Success", "Message": "OK", "NumberTotalRows": 3,
            "NumberLoadedRows": 3, "NumberFilteredRows": 0, "LoadBytes": 214, "New": {"x": [1]}}"#;
        let read = Answer::read(full.as_bytes()).unwrap();
        assert_eq!((read.status.as_str(), read.total_rows, read.filtered_rows), ("Success", Some(3), Some(0)));
        let old =
            Answer::read(br#"{"status":"FAILED","code":"1","msg":"Access denied for user","message":"x"}"#).unwrap();
        assert_eq!((old.status.as_str(), old.message.as_str()), ("FAILED", "Access denied for user"));
        let odd = Answer::read(br#"{"Status":"Fail","NumberTotalRows":"3","ErrorURL":""}"#).unwrap();
        assert_eq!((odd.total_rows, odd.error_url), (None, None));
        for bad in ["", "{", "[]", "null", "{}", r#"{"Status":""}"#, r#"{"Status":1}"#, "<html>502</html>"] {
            assert_eq!(Answer::read(bad.as_bytes()), None, "{bad}");
        }
        for end in 0..full.len() {
            assert_eq!(Answer::read(&full.as_bytes()[..end]), None, "cut at byte {end}");
        }
    }

    #[test]
    fn states_and_health_are_read() {
        let state = br#"{"state":"VISIBLE","reason":"","status":"OK","code":"0","msg":"Success","message":"OK"}"#;
        assert_eq!(label_state(state).as_deref(), Some("VISIBLE"));
        assert_eq!(label_state(br#"{"status":"FAILED","msg":"No label selected."}"#), None);
        let health = br#"{"online_backend_num":1,"total_backend_num":3,"status":"OK"}"#;
        assert_eq!(backends(health), Some(3));
    }

    #[test]
    fn no_row_value_gets_through() {
        let known = ["price", "id"];
        let cases = [
            ("too many filtered rows", "too many filtered rows"),
            (
                "Value 'hunter2' is out of range. The type of 'price' is INT",
                "Value '…' is out of range. The type of 'price' is INT",
            ),
            ("the value should be array type, value: {\"a\":\"hunter2\"}", "the value should be array type,"),
            ("Error: bad. Row: hunter2", "Error: bad."),
            ("it's hunter2", "it'…"),
            ("a\r\nb\u{1b}[31m", "a  b [31m"),
        ];
        for (text, want) in cases {
            assert_eq!(presentable(text, &known), want);
        }
        assert_eq!(presentable(&"é".repeat(1000), &known).chars().count(), TEXT_MAX);
        assert_eq!(one_line("Unknown database 'shop'.\n"), "Unknown database 'shop'.");
        let log = "Error: Value 'x' is out of range. The type of 'price' is DECIMAL. Row: [hunter2, 'id']\n\
                   Error: NULL value in non-nullable column 'id'. Row: []\nError: The type of 'hunter2' is INT.\nnoise";
        assert_eq!(columns_at_fault(log, &known), ["price", "id"]);
    }
}
