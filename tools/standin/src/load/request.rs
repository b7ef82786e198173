//! The headers of a load, read as the backend reads them.
//!
//! Always: names without regard to case; booleans are `true` in any case, everything else is false, unless noted.
//! (StarRocks source, `http_common.h`, `stream_load.cpp`; StarRocks docs, STREAM LOAD.)

use super::compression::Compression;

/// Shape of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text.
    Csv,
    /// JSON.
    Json,
}

/// What the headers ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadRequest {
    /// `format`.
    pub format: Format,
    /// `compression`, `Content-Encoding`, or a compressed CSV format.
    pub compression: Compression,
    /// `columns`; empty if absent.
    pub columns: String,
    /// `column_separator`, decoded.
    pub column_separator: Vec<u8>,
    /// `row_delimiter`, decoded.
    pub row_delimiter: Vec<u8>,
    /// `skip_header`.
    pub skip_header: usize,
    /// `trim_space`.
    pub trim_space: bool,
    /// `enclose`.
    pub enclose: Option<u8>,
    /// `escape`.
    pub escape: Option<u8>,
    /// `strip_outer_array`.
    pub strip_outer_array: bool,
    /// `jsonpaths`; empty if absent.
    pub jsonpaths: String,
    /// `json_root`; empty if absent.
    pub json_root: String,
    /// `strict_mode`.
    pub strict_mode: bool,
    /// `max_filter_ratio`.
    pub max_filter_ratio: f64,
    /// `partial_update`.
    pub partial_update: bool,
    /// `partial_update_mode` is `column`; every other word is row mode.
    pub column_mode: bool,
    /// `merge_condition`; empty if absent.
    pub merge_condition: String,
    /// `log_rejected_record_num`: -1 = all.
    pub log_rejected_record_num: i64,
    /// `timeout`, seconds.
    pub timeout_s: Option<u32>,
}

impl LoadRequest {
    /// Reads headers through `header`, which gives a header's text, empty if it is absent. Errors are the texts of the
    /// answer's `Message`.
    pub fn read(header: &dyn Fn(&str) -> String) -> Result<LoadRequest, String> {
        let (format, csv_compression) = format(&header("format"))?;
        let flag = |name: &str| header(name).eq_ignore_ascii_case("true");
        refuse_unmodelled(header)?;
        Ok(LoadRequest {
            format,
            compression: compression(header, format, csv_compression)?,
            columns: header("columns"),
            column_separator: delimiter(&header("column_separator"), b"\t")?,
            row_delimiter: delimiter(&header("row_delimiter"), b"\n")?,
            skip_header: number(&header("skip_header"), 0, "Invalid csv load skip header format")?,
            trim_space: flag("trim_space"),
            enclose: header("enclose").bytes().next(),
            escape: header("escape").bytes().next(),
            strip_outer_array: flag("strip_outer_array"),
            jsonpaths: header("jsonpaths"),
            json_root: header("json_root"),
            strict_mode: strict_mode(&header("strict_mode"))?,
            max_filter_ratio: ratio(&header("max_filter_ratio"))?,
            partial_update: flag("partial_update"),
            column_mode: header("partial_update_mode").eq_ignore_ascii_case("column"),
            merge_condition: header("merge_condition"),
            log_rejected_record_num: number(&header("log_rejected_record_num"), 0, "Invalid log_rejected_record_num")?,
            timeout_s: match header("timeout").as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| "Invalid timeout format".to_string())?),
            },
        })
    }
}

fn refuse_unmodelled(header: &dyn Fn(&str) -> String) -> Result<(), String> {
    let unmodelled = ["where", "partitions", "temporary_partitions", "envelope", "negative"];
    if let Some(name) = unmodelled.into_iter().find(|name| !header(name).is_empty()) {
        return Err(format!("starrocks-standin does not model the header {name}"));
    }
    if header("enable_merge_commit").eq_ignore_ascii_case("true") {
        return Err("starrocks-standin does not model merge commit".to_string());
    }
    Ok(())
}

fn format(text: &str) -> Result<(Format, Compression), String> {
    match text.to_ascii_lowercase().as_str() {
        "" | "csv" => Ok((Format::Csv, Compression::None)),
        "json" => Ok((Format::Json, Compression::None)),
        "gzip" => Ok((Format::Csv, Compression::Gzip)),
        "lz4" => Ok((Format::Csv, Compression::Lz4Frame)),
        "zstd" => Ok((Format::Csv, Compression::Zstd)),
        "deflate" => Ok((Format::Csv, Compression::Deflate)),
        "bzip2" => Err("starrocks-standin does not model bzip2".to_string()),
        _ => Err(format!("unknown data format, format={text}")),
    }
}

fn compression(header: &dyn Fn(&str) -> String, format: Format, of_csv: Compression) -> Result<Compression, String> {
    let (encoding, compression) = (header("content-encoding"), header("compression"));
    if !encoding.is_empty() && !compression.is_empty() {
        return Err("Only one of http header content-encoding and compression can be set".to_string());
    }
    let name = if encoding.is_empty() { compression } else { encoding };
    match format {
        Format::Csv => Ok(of_csv),
        Format::Json => Compression::named(&name),
    }
}

fn strict_mode(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "" | "false" => Ok(false),
        "true" => Ok(true),
        _ => Err("Invalid strict mode format. Must be bool type".to_string()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    if text.is_empty() {
        return Ok(0.0);
    }
    let wrong = || format!("Invalid max_filter_ratio format: {text}");
    text.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).ok_or_else(wrong)
}

fn number<T: std::str::FromStr>(text: &str, default: T, wrong: &str) -> Result<T, String> {
    if text.is_empty() { Ok(default) } else { text.parse().map_err(|_| wrong.to_string()) }
}

/// A delimiter as written: hex (`\x01`, `0x0102`), the words `\t` and `\n`, or the bytes themselves, at most 50.
fn delimiter(text: &str, default: &[u8]) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(default.to_vec());
    }
    let hex = text.strip_prefix("\\x").or_else(|| text.strip_prefix("0x")).or_else(|| text.strip_prefix("0X"));
    if let Some(digits) = hex {
        let bytes = digits.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        return bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(|| format!("Invalid delimiter '{text}'"));
    }
    let bytes = text.replace("\\t", "\t").replace("\\n", "\n").into_bytes();
    if bytes.len() > 50 { Err("the delimiter is limited to a maximum of 50 bytes".to_string()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_backend_reads_them() {
        type Case = (&'static [(&'static str, &'static str)], fn(&LoadRequest) -> bool, &'static str);
        let rows: &[Case] = &[
            (&[], |r| r.format == Format::Csv && r.row_delimiter == b"\n", "defaults"),
            (&[("format", "JSON"), ("strip_outer_array", "TRUE")], |r| r.strip_outer_array, "any case"),
            (
                &[("column_separator", "\\x01"), ("row_delimiter", "0x0203")],
                |r| r.column_separator == [1] && r.row_delimiter == [2, 3],
                "hex",
            ),
            (&[("column_separator", "\\t")], |r| r.column_separator == b"\t", "the word for a tab"),
            (&[("format", "gzip")], |r| r.compression == Compression::Gzip, "compressed CSV by format"),
            (&[("format", "json"), ("compression", "lz4_frame")], |r| r.compression == Compression::Lz4Frame, "JSON"),
        ];
        for (headers, check, why) in rows {
            let find =
                |name: &str| headers.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value).to_string();
            assert!(check(&LoadRequest::read(&find).expect(why)), "{why}");
        }
    }

    #[test]
    fn wrong_headers_are_refused_in_its_words() {
        let rows = [
            (("format", "xml"), "unknown data format, format=xml"),
            (("strict_mode", "yes"), "Invalid strict mode format. Must be bool type"),
            (("timeout", "soon"), "Invalid timeout format"),
            (("max_filter_ratio", "2"), "Invalid max_filter_ratio format: 2"),
        ];
        for ((key, value), want) in rows {
            let find = |name: &str| if name == key { value.to_string() } else { String::new() };
            assert_eq!(LoadRequest::read(&find).unwrap_err(), want);
        }
    }
}
