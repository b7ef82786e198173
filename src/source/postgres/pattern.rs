//! Which tables to replicate, as written in `TABLES`.

use crate::model::TableName;

/// One entry of `TABLES`: `orders`, `shop.orders`, `shop.*`, each part quoted like a PostgreSQL identifier if need be,
/// optionally renamed for the target: `shop.orders=>shop_orders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePattern {
    /// The schema; `public` where none was written.
    pub schema: String,
    /// The table; `None` stands for every table of the schema.
    pub table: Option<String>,
    /// Name wanted in the target; only together with `table`. The table's own name otherwise.
    pub target: Option<String>,
}

/// Why a table list cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {at} of {list:?}")]
pub struct PatternError {
    /// What is wrong.
    pub problem: &'static str,
    /// Where, counted in characters from 1.
    pub at: usize,
    /// The whole list.
    pub list: String,
}

impl TablePattern {
    /// Whether a table is meant.
    pub fn matches(&self, name: &TableName) -> bool {
        self.schema == name.schema && self.table.as_ref().is_none_or(|table| *table == name.name)
    }

    /// Reads a comma-separated list. Unquoted parts are folded to lower case as PostgreSQL does; quoted parts
    /// (`"Odd ""Name"""`) are taken as they are.
    ///
    /// # Errors
    /// An empty list, an empty part, an unclosed quote, text after a closing quote, more than two parts, or a rename
    /// of a whole schema.
    pub fn parse_list(list: &str) -> Result<Vec<TablePattern>, PatternError> {
        let mut reader = Reader { list, rest: list.char_indices().peekable() };
        let mut patterns = Vec::new();
        loop {
            patterns.push(reader.pattern()?);
            reader.blanks();
            match reader.rest.next() {
                None => return Ok(patterns),
                Some((_, ',')) => {}
                Some((at, _)) => return Err(reader.error("unexpected text", at)),
            }
        }
    }
}

struct Reader<'a> {
    list: &'a str,
    rest: std::iter::Peekable<std::str::CharIndices<'a>>,
}

enum Part {
    Star,
    Name(String),
}

impl Reader<'_> {
    fn error(&self, problem: &'static str, byte: usize) -> PatternError {
        let at = self.list[..byte].chars().count() + 1;
        PatternError { problem, at, list: self.list.to_owned() }
    }

    fn here(&mut self) -> usize {
        self.rest.peek().map_or(self.list.len(), |(at, _)| *at)
    }

    fn blanks(&mut self) {
        while self.rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
    }

    fn taken(&mut self, wanted: char) -> bool {
        self.blanks();
        self.rest.next_if(|(_, c)| *c == wanted).is_some()
    }

    fn pattern(&mut self) -> Result<TablePattern, PatternError> {
        let first = self.part()?;
        let (schema, table) = if self.taken('.') {
            let Part::Name(schema) = first else {
                let at = self.here();
                return Err(self.error("a schema cannot be *", at));
            };
            (schema, self.part()?)
        } else {
            ("public".to_owned(), first)
        };
        let table = match table {
            Part::Star => None,
            Part::Name(name) => Some(name),
        };
        let target = self.target(table.is_some())?;
        Ok(TablePattern { schema, table, target })
    }

    fn target(&mut self, one_table: bool) -> Result<Option<String>, PatternError> {
        let at = self.here();
        if !self.taken('=') {
            return Ok(None);
        }
        if !self.taken('>') {
            return Err(self.error("expected =>", at));
        }
        match self.part()? {
            Part::Name(name) if one_table => Ok(Some(name)),
            _ => Err(self.error("only a single table can be renamed, to a single name", at)),
        }
    }

    fn part(&mut self) -> Result<Part, PatternError> {
        self.blanks();
        let start = self.here();
        if self.taken('*') {
            return Ok(Part::Star);
        }
        if self.taken('"') {
            return self.quoted(start).map(Part::Name);
        }
        let mut name = String::new();
        while let Some((_, c)) = self.rest.next_if(|(_, c)| !c.is_whitespace() && !".,\"*=".contains(*c)) {
            // PostgreSQL folds ASCII letters only in multi-byte encodings.
            name.push(c.to_ascii_lowercase());
        }
        if name.is_empty() { Err(self.error("a name is missing", start)) } else { Ok(Part::Name(name)) }
    }

    fn quoted(&mut self, start: usize) -> Result<String, PatternError> {
        let mut name = String::new();
        while let Some((_, c)) = self.rest.next() {
            if c != '"' {
                name.push(c);
            } else if self.rest.next_if(|(_, c)| *c == '"').is_some() {
                name.push('"');
            } else if name.is_empty() {
                return Err(self.error("a quoted name is empty", start));
            } else {
                return Ok(name);
            }
        }
        Err(self.error("a quote is not closed", start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(schema: &str, table: Option<&str>, target: Option<&str>) -> TablePattern {
        TablePattern { schema: schema.into(), table: table.map(Into::into), target: target.map(Into::into) }
    }

    #[test]
    fn lists_are_read_as_postgres_would_read_the_names() {
        let cases = [
            ("orders", vec![pattern("public", Some("orders"), None)]),
            ("Shop.Orders", vec![pattern("shop", Some("orders"), None)]),
            (" shop . * , a ", vec![pattern("shop", None, None), pattern("public", Some("a"), None)]),
            (r#""Odd.One"."a""b""#, vec![pattern("Odd.One", Some("a\"b"), None)]),
            (r#""*""#, vec![pattern("public", Some("*"), None)]),
            ("a.b=>C, d => \"E\"", vec![pattern("a", Some("b"), Some("c")), pattern("public", Some("d"), Some("E"))]),
            ("tisch_größe", vec![pattern("public", Some("tisch_größe"), None)]),
        ];
        for (list, want) in cases {
            assert_eq!(TablePattern::parse_list(list), Ok(want), "{list}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place() {
        let cases = [
            ("", "a name is missing", 1),
            ("a,,b", "a name is missing", 3),
            ("a,", "a name is missing", 3),
            ("a.b.c", "unexpected text", 4),
            ("\"a", "a quote is not closed", 1),
            ("\"\"", "a quoted name is empty", 1),
            ("*.a", "a schema cannot be *", 3),
            ("ä b", "unexpected text", 3),
            ("shop.*=>x", "only a single table can be renamed, to a single name", 7),
            ("a=b", "expected =>", 2),
        ];
        for (list, problem, at) in cases {
            assert_eq!(TablePattern::parse_list(list), Err(PatternError { problem, at, list: list.into() }));
        }
    }

    #[test]
    fn a_pattern_matches_by_exact_name() {
        let name = TableName { schema: "shop".into(), name: "orders".into() };
        assert!(pattern("shop", None, None).matches(&name));
        assert!(pattern("shop", Some("orders"), None).matches(&name));
        assert!(!pattern("public", None, None).matches(&name));
        assert!(!pattern("shop", Some("Orders"), None).matches(&name));
    }
}
