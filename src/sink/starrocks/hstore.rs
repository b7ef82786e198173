//! Keys and values as the extension hstore writes them (`hstore_out`), as a JSON object.

use super::escape;
use super::quoted::quoted;
use super::value::Unfit;

/// Appends `"a"=>"1", "b"=>NULL` as an object of strings and nulls. Keys come once only.
///
/// # Errors
/// If the text is of another form, or holds what no text of PostgreSQL does.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
    simdutf8::basic::from_utf8(text).map_err(|_| Unfit::NotUtf8)?;
    out.push(b'{');
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = quoted(rest).ok_or(Unfit::Malformed)?;
        let mut nul = escape::string(&key, out).nul;
        out.push(b':');
        rest = after.strip_prefix(b"=>").ok_or(Unfit::Malformed)?;
        match rest.strip_prefix(b"NULL") {
            Some(after) => {
                out.extend_from_slice(b"null");
                rest = after;
            }
            None => {
                let (value, after) = quoted(rest).ok_or(Unfit::Malformed)?;
                nul |= escape::string(&value, out).nul;
                rest = after;
            }
        }
        if nul {
            return Err(Unfit::Nul);
        }
        if !rest.is_empty() {
            rest = rest.strip_prefix(b", ").filter(|more| !more.is_empty()).ok_or(Unfit::Malformed)?;
            out.push(b',');
        }
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_become_members() {
        let cases = [
            ("", Some("{}")),
            (r#""a"=>"1""#, Some(r#"{"a":"1"}"#)),
            (r#""a"=>NULL, "b"=>"NULL""#, Some(r#"{"a":null,"b":"NULL"}"#)),
            (r#"""=>"", "=>"=>", ""#, Some(r#"{"":"","=>":", "}"#)),
            (r#""a\"b"=>"c\\d""#, Some(r#"{"a\"b":"c\\d"}"#)),
            (r#""a"=>1"#, None),
            (r#""a""#, None),
            (r#""a"=>"#, None),
            (r#""a"=>"1","#, None),
            (r#""a"=>"1", "#, None),
            (r#""a"=>"1" "b"=>"2""#, None),
            ("a", None),
        ];
        for (text, want) in cases {
            let mut out = Vec::new();
            let got = write(text.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap());
            assert_eq!(got, want.map(str::to_owned).ok_or(Unfit::Malformed), "{text}");
        }
    }
}
