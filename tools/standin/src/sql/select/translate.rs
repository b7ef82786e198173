//! Turns a StarRocks query into one SQLite understands.
//!
//! In: a query's text. Out: SQLite text, the label of each column of the outermost select list, and hints for the types
//! of columns SQLite cannot know.
//! Always: token by token; what cannot be translated is refused, not guessed.
//! Not here: which tables there are and what they hold (`super::run`).

use crate::sql::ast::Literal;
use crate::sql::error::SqlError;
use crate::sql::lexer::{Token, TokenKind, place, tokens};
use crate::sql::parser::{is_reserved, plain_variable};

/// What is known about a column of the result before the query runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// Nothing.
    Unknown,
    /// A whole number, as `count` gives.
    Count,
    /// `function(column)`: the type follows from the column's.
    Of {
        /// Lower case.
        function: String,
        /// As written.
        column: String,
    },
}

/// A query ready for SQLite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Translated {
    /// SQLite's text.
    pub(super) sql: String,
    /// One per item of the outermost select list; empty when the list holds a `*`.
    pub(super) hints: Vec<Hint>,
    /// Lower-case names that occur, and whether every column is asked for.
    pub(super) words: std::collections::HashSet<String>,
    /// Whether `*` stands for columns somewhere.
    pub(super) all_columns: bool,
}

// Reserved by SQLite and ordinary names to StarRocks.
const QUOTED_FOR_SQLITE: &[&str] = &[
    "autoincrement",
    "commit",
    "constraint",
    "deferrable",
    "foreign",
    "isnull",
    "notnull",
    "nothing",
    "references",
    "returning",
    "transaction",
    "table_name",
];

/// Translates `sql`; `variable` gives the value of a session variable.
pub(super) fn translate(sql: &str, variable: &dyn Fn(&str) -> Option<Literal>) -> Result<Translated, SqlError> {
    let mut translator =
        Translator { sql, tokens: tokens(sql)?, out: Vec::new(), brackets: Vec::new(), variable, hints: Vec::new() };
    translator.run()?;
    let words = translator.tokens.iter().filter_map(|token| match &token.kind {
        TokenKind::Word(word) | TokenKind::Name(word) => Some(word.to_lowercase()),
        _ => None,
    });
    Ok(Translated {
        words: words.collect(),
        all_columns: translator.all_columns(),
        sql: translator.out.join(" "),
        hints: translator.hints,
    })
}

struct Translator<'a> {
    sql: &'a str,
    tokens: Vec<Token>,
    out: Vec<String>,
    /// For each open bracket: where its CAST stands in `out`, if it is one.
    brackets: Vec<Option<usize>>,
    variable: &'a dyn Fn(&str) -> Option<Literal>,
    hints: Vec<Hint>,
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), SqlError> {
        let items = self.select_items();
        let has_star = items.iter().any(|item| self.tokens[item.end - 1].is_symbol("*"));
        let mut at = 0;
        let mut next_item = 0;
        loop {
            let label = items.get(next_item).filter(|item| item.end == at).map(|item| (item.start, item.end));
            if let Some((start, end)) = label {
                next_item += 1;
                if !has_star {
                    let hint = self.hint(start, end);
                    self.hints.push(hint);
                }
                if let Some(label) = self.label(start, end) {
                    self.out.push(format!("AS {}", back_quoted(&label)));
                }
            }
            if self.tokens[at].kind == TokenKind::End {
                return Ok(());
            }
            at = self.token(at)?;
        }
    }

    fn error(&self, token: &Token, detail: impl std::fmt::Display) -> SqlError {
        let (line, column) = place(self.sql, token.start);
        SqlError::syntax(line, column, detail)
    }

    // ---- the outermost select list ----

    /// Token ranges of the items of the outermost select list.
    fn select_items(&self) -> Vec<std::ops::Range<usize>> {
        let mut depth = 0_i64;
        let mut items = Vec::new();
        let mut start = None;
        for (index, token) in self.tokens.iter().enumerate() {
            if token.is_symbol("(") {
                depth += 1;
            } else if token.is_symbol(")") {
                depth -= 1;
            }
            if depth != 0 {
                continue;
            }
            match start {
                None if token.is_word("SELECT") => start = Some(index + 1),
                None => {}
                Some(from) if from == index && (token.is_word("DISTINCT") || token.is_word("ALL")) => {
                    start = Some(index + 1);
                }
                Some(from) if token.is_symbol(",") && index > from => {
                    items.push(from..index);
                    start = Some(index + 1);
                }
                Some(from) if index > from && self.ends_list(token) => {
                    items.push(from..index);
                    return items;
                }
                Some(_) => {}
            }
        }
        items
    }

    fn ends_list(&self, token: &Token) -> bool {
        let words = ["FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "EXCEPT", "INTERSECT", "MINUS"];
        token.kind == TokenKind::End || words.iter().any(|word| token.is_word(word))
    }

    /// The label to give an item, or `None` when it has its own or is a `*`.
    fn label(&self, start: usize, end: usize) -> Option<String> {
        let last = &self.tokens[end - 1];
        if last.is_symbol("*") || self.has_alias(start, end) {
            return None;
        }
        if self.is_path(start, end) {
            return name_of(last);
        }
        Some(self.sql[self.tokens[start].start..last.end].to_owned())
    }

    fn is_path(&self, start: usize, end: usize) -> bool {
        self.tokens[start..end].iter().enumerate().all(|(index, token)| {
            if index % 2 == 1 { token.is_symbol(".") } else { name_of(token).is_some_and(|_| !is_constant_word(token)) }
        })
    }

    fn has_alias(&self, start: usize, end: usize) -> bool {
        if end < start + 2 {
            return false;
        }
        let (before, last) = (&self.tokens[end - 2], &self.tokens[end - 1]);
        if before.is_word("AS") {
            return true;
        }
        let names = match &last.kind {
            TokenKind::Word(word) => !is_reserved(word) && !last.is_word("END") && !is_constant_word(last),
            TokenKind::Name(_) | TokenKind::Text(_) => true,
            _ => false,
        };
        let value_before = match &before.kind {
            TokenKind::Word(word) => !is_reserved(word) || before.is_word("END") || is_constant_word(before),
            TokenKind::Name(_) | TokenKind::Text(_) | TokenKind::Number(_) | TokenKind::Variable(_) => true,
            TokenKind::Symbol(symbol) => *symbol == ")",
            TokenKind::Hex(_) | TokenKind::End => false,
        };
        names && value_before
    }

    fn hint(&self, start: usize, end: usize) -> Hint {
        let end = if self.has_alias(start, end) {
            if self.tokens[end - 2].is_word("AS") { end - 2 } else { end - 1 }
        } else {
            end
        };
        let item = &self.tokens[start..end];
        let Some((first, rest)) = item.split_first() else { return Hint::Unknown };
        let Some(function) = name_of(first).map(|name| name.to_lowercase()) else { return Hint::Unknown };
        if !rest.first().is_some_and(|token| token.is_symbol("("))
            || !rest.last().is_some_and(|token| token.is_symbol(")"))
        {
            return Hint::Unknown;
        }
        if rest.iter().filter(|token| token.is_symbol(")")).count() > 1 {
            return Hint::Unknown;
        }
        let argument = rest.iter().skip(1).find(|token| !token.is_word("DISTINCT") && name_of(token).is_some());
        match (function.as_str(), argument) {
            ("count", _) => Hint::Count,
            // The last part of a path is the column.
            ("sum" | "avg" | "min" | "max" | "any_value" | "coalesce" | "ifnull" | "nullif", Some(_)) => {
                let list = &rest[1..rest.len() - 1];
                let first_end = list.iter().position(|token| token.is_symbol(",")).unwrap_or(list.len());
                let column = first_end.checked_sub(1).and_then(|last| name_of(&list[last]));
                column.map_or(Hint::Unknown, |column| Hint::Of { function, column })
            }
            _ => Hint::Unknown,
        }
    }

    /// Whether a `*` asks for columns: every `*` that is no multiplication and not in `count(*)`.
    fn all_columns(&self) -> bool {
        self.tokens.windows(2).any(|pair| {
            let before = &pair[0];
            pair[1].is_symbol("*")
                && (before.is_symbol(".")
                    || before.is_symbol(",")
                    || ["SELECT", "DISTINCT", "ALL"].iter().any(|word| before.is_word(word)))
        })
    }

    // ---- token by token ----

    fn push(&mut self, text: impl Into<String>) {
        self.out.push(text.into());
    }

    /// Translates the token at `at`; the index behind what was consumed.
    fn token(&mut self, at: usize) -> Result<usize, SqlError> {
        let token = self.tokens[at].clone();
        match &token.kind {
            TokenKind::Word(word) => return self.word(at, word),
            TokenKind::Name(name) => self.push(back_quoted(name)),
            TokenKind::Text(text) => self.push(quoted(text)),
            TokenKind::Hex(bytes) => self.push(hex(bytes)),
            TokenKind::Number(number) => self.push(number_text(number)),
            TokenKind::Variable(name) => {
                let value = self.variable_text(name)?;
                self.push(value);
            }
            TokenKind::Symbol(symbol) => self.symbol(at, &token, symbol)?,
            TokenKind::End => {}
        }
        Ok(at + 1)
    }

    fn variable_text(&self, name: &str) -> Result<String, SqlError> {
        if !name.starts_with("@@") {
            // A user variable that was never set is NULL; SET refuses to set one.
            return Ok("NULL".to_owned());
        }
        let plain = plain_variable(name);
        match (self.variable)(&plain) {
            Some(Literal::Number(number)) => Ok(number),
            Some(Literal::Boolean(flag)) => Ok(u8::from(flag).to_string()),
            Some(Literal::Text(text)) => Ok(quoted(&text)),
            Some(_) => Ok("NULL".to_owned()),
            None => Err(SqlError::new(1193, "HY000", format!("Unknown system variable '{plain}'"))),
        }
    }

    fn symbol(&mut self, at: usize, token: &Token, symbol: &str) -> Result<(), SqlError> {
        match symbol {
            "(" => {
                let is_cast = at > 0 && self.tokens[at - 1].is_word("CAST");
                self.brackets.push(is_cast.then(|| self.out.len() - 1));
                self.push("(");
            }
            ")" => {
                self.brackets.pop();
                self.push(")");
            }
            "||" => self.push("OR"),
            "&&" => self.push("AND"),
            "!" => self.push("NOT"),
            "<=>" => self.push("IS"),
            // Division of whole numbers is not whole in StarRocks.
            "/" => self.push("* 1.0 /"),
            "[" | "{" | "?" | "^" | ":=" | "->" => {
                return Err(
                    self.error(token, format!("Unexpected input '{symbol}', the most similar input is {{<EOF>, ';'}}"))
                );
            }
            other => self.push(other),
        }
        Ok(())
    }

    fn word(&mut self, at: usize, word: &str) -> Result<usize, SqlError> {
        let upper = word.to_ascii_uppercase();
        let called = self.tokens[at + 1].is_symbol("(");
        match upper.as_str() {
            "RLIKE" | "REGEXP" | "INTERVAL" | "LATERAL" | "QUALIFY" => {
                return Err(SqlError::not_modelled(format!("{upper} in queries")));
            }
            "AS" if self.brackets.last().is_some_and(Option::is_some) => return self.cast_type(at),
            "DIV" => self.push("/"),
            "MOD" if !called => self.push("%"),
            // The time here is UTC at all times.
            "NOW" | "CURRENT_TIMESTAMP" | "LOCALTIMESTAMP" | "LOCALTIME" | "UTC_TIMESTAMP"
                if called || upper.starts_with("CURRENT") || upper.starts_with("LOCAL") =>
            {
                self.push("sr_now ( )");
                // Up to an argument, the precision, is read over.
                return Ok(if called { self.behind_bracket(at + 1) } else { at + 1 });
            }
            "CURRENT_DATE" | "CURDATE" => {
                self.push("substr(sr_now(), 1, 10)");
                return Ok(if called { self.behind_bracket(at + 1) } else { at + 1 });
            }
            "CURRENT_USER" | "CURRENT_CATALOG" if !called => self.push(format!("{word} ( )")),
            "FROM" if self.tokens[at + 1].is_word("DUAL") => return Ok(at + 2),
            "MINUS" => self.push("EXCEPT"),
            "NVL" if called => self.push("ifnull"),
            "ANY_VALUE" if called => self.push("min"),
            "UCASE" if called => self.push("upper"),
            "LCASE" if called => self.push("lower"),
            _ if plain_for_sqlite(word) => self.push(word),
            _ => self.push(back_quoted(word)),
        }
        Ok(at + 1)
    }

    /// The index behind the bracket that opens at `open`.
    fn behind_bracket(&self, open: usize) -> usize {
        let mut depth = 0_i64;
        for (index, token) in self.tokens.iter().enumerate().skip(open) {
            if token.is_symbol("(") {
                depth += 1;
            } else if token.is_symbol(")") {
                depth -= 1;
            }
            if depth == 0 {
                return index + 1;
            }
        }
        self.tokens.len() - 1
    }

    /// `AS type` inside CAST.
    fn cast_type(&mut self, at: usize) -> Result<usize, SqlError> {
        let cast = self.brackets.last().copied().flatten().unwrap_or_default();
        let mut end = at + 1;
        let mut arguments = Vec::new();
        let name = name_of(&self.tokens[end]).unwrap_or_default().to_lowercase();
        end += 1;
        if self.tokens[end.min(self.tokens.len() - 1)].is_symbol("(") {
            let behind = self.behind_bracket(end);
            for token in &self.tokens[end..behind] {
                if let TokenKind::Number(number) = &token.kind {
                    arguments.push(number.clone());
                }
            }
            end = behind;
        }
        match name.as_str() {
            "boolean" | "tinyint" | "smallint" | "int" | "integer" | "bigint" | "signed" => self.push("AS INTEGER"),
            "float" | "double" => self.push("AS REAL"),
            "char" | "varchar" | "string" | "json" => self.push("AS TEXT"),
            "varbinary" | "binary" => self.push("AS BLOB"),
            "decimal" => {
                self.out[cast] = "sr_decimal".to_owned();
                let precision = arguments.first().map_or("10", String::as_str);
                let scale = arguments.get(1).map_or("0", String::as_str);
                self.push(format!(", {precision}, {scale}"));
            }
            "largeint" => self.out[cast] = "sr_largeint".to_owned(),
            "date" => self.out[cast] = "sr_date".to_owned(),
            "datetime" => self.out[cast] = "sr_datetime".to_owned(),
            other => return Err(SqlError::not_modelled(format!("CAST to {other}"))),
        }
        Ok(end.min(self.tokens.len() - 1))
    }
}

fn name_of(token: &Token) -> Option<String> {
    match &token.kind {
        TokenKind::Word(name) | TokenKind::Name(name) => Some(name.clone()),
        _ => None,
    }
}

fn is_constant_word(token: &Token) -> bool {
    ["NULL", "TRUE", "FALSE"].iter().any(|word| token.is_word(word))
}

fn plain_for_sqlite(word: &str) -> bool {
    !QUOTED_FOR_SQLITE.contains(&word.to_ascii_lowercase().as_str())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !word.starts_with(|first: char| first.is_ascii_digit())
}

/// A name between back-quotes.
pub(in crate::sql) fn back_quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string as SQLite writes it.
fn quoted(text: &str) -> String {
    // SQLite's text ends at a NUL.
    if text.contains('\0') {
        return format!("CAST({} AS TEXT)", hex(text.as_bytes()));
    }
    format!("'{}'", text.replace('\'', "''"))
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x'{digits}'")
}

/// A number; one with more digits than a double keeps travels as text.
fn number_text(number: &str) -> String {
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let exact = !number.contains(['e', 'E']);
    let fits = number.parse::<i64>().is_ok();
    if exact && !fits && digits > 15 { format!("'{number}'") } else { number.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(sql: &str) -> Translated {
        translate(sql, &|name| (name == "autocommit").then(|| Literal::Number("1".into()))).expect(sql)
    }

    #[test]
    fn queries_become_sqlite() {
        let cases = [
            (
                "strings and names",
                r#"SELECT `a` FROM t WHERE b = "it's""#,
                "SELECT `a` AS `a` FROM t WHERE b = 'it''s'",
            ),
            ("variables", "SELECT @@session.autocommit", "SELECT 1 AS `@@session.autocommit`"),
            ("division", "SELECT a / 2 x FROM t", "SELECT a * 1.0 / 2 x FROM t"),
            ("dual", "SELECT 1 FROM dual", "SELECT 1 AS `1`"),
            ("operators", "SELECT 1 FROM t WHERE a <=> 1 || !b", "SELECT 1 AS `1` FROM t WHERE a IS 1 OR NOT b"),
            (
                "casts",
                "SELECT CAST(a AS DECIMAL(10, 2)) FROM t",
                "SELECT sr_decimal ( a , 10, 2 ) AS `CAST(a AS DECIMAL(10, 2))` FROM t",
            ),
            ("nested", "SELECT (SELECT max(a) FROM u) m FROM t", "SELECT ( SELECT max ( a ) FROM u ) m FROM t"),
            ("now", "SELECT current_timestamp(6) n", "SELECT sr_now ( ) n"),
            (
                "big",
                "SELECT 1 FROM t WHERE a > 12345678901234567890",
                "SELECT 1 AS `1` FROM t WHERE a > '12345678901234567890'",
            ),
            ("star", "SELECT t.*, a FROM t", "SELECT t . * , a AS `a` FROM t"),
        ];
        for (name, sql, want) in cases {
            assert_eq!(translated(sql).sql, want, "{name}");
        }
    }

    #[test]
    fn hints_name_the_column_behind_an_aggregate() {
        let hints = translated("SELECT count(*), sum(DISTINCT t.a) s, max(`b`), a + 1, coalesce(c, 0) FROM t").hints;
        let of = |function: &str, column: &str| Hint::Of { function: function.into(), column: column.into() };
        assert_eq!(hints, [Hint::Count, of("sum", "a"), of("max", "b"), Hint::Unknown, of("coalesce", "c")]);
    }

    #[test]
    fn every_prefix_is_translated_or_refused() {
        let sql = "WITH x AS (SELECT DISTINCT `a`, CAST(b AS DECIMAL(10,2)) c FROM d.t) SELECT *, @@autocommit, now() \
                   FROM x JOIN y ON x.a = y.a WHERE a LIKE 'x\\%' GROUP BY 1 ORDER BY 2 LIMIT 3";
        for end in 0..=sql.len() {
            let _answer = translate(&sql[..end], &|_| None);
        }
    }
}
