//! What is loaded instead of a value that its column cannot hold.
//!
//! In: a column with its policies, the value, and what is wrong with it. Out: what the policies put in its place. Always:
//! a value with several faults follows the policy of each, and none is followed twice. Not here: finding the first
//! fault (`value`), the nearest value (`nearest`). The encoder loads what comes out; a comparison expects it.

use std::borrow::Cow;

use super::escape;
use super::nearest::nearest;
use super::plan::PlanColumn;
use super::policy::{BadClass, Policy};
use super::value::Unfit;

/// What takes a value's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Instead<'a> {
    Null,
    /// Another value that the column holds, in the source's text.
    Value(Cow<'a, [u8]>),
    /// The text of a document, as a JSON string.
    Text(Cow<'a, [u8]>),
}

/// What takes the value's place; `tell` hears of each class of fault it had.
///
/// # Errors
/// The fault that the column blocks for.
#[cold]
pub(super) fn instead<'a>(
    column: &PlanColumn,
    text: &'a [u8],
    unfit: Unfit,
    mut tell: impl FnMut(BadClass),
) -> Result<Instead<'a>, Unfit> {
    let (mut text, mut unfit) = (Cow::Borrowed(text), unfit);
    let mut settled = Vec::new();
    loop {
        let class = unfit.class().ok_or(unfit)?;
        // The nearest value still has the fault: it has none.
        if settled.contains(&class) {
            return Err(unfit);
        }
        settled.push(class);
        let policy = column.policies.of(class);
        if policy != Policy::Block {
            tell(class);
        }
        match policy {
            Policy::Block => return Err(unfit),
            Policy::Null => return Ok(Instead::Null),
            Policy::Text => return Ok(Instead::Text(text)),
            Policy::Clamp => text = Cow::Owned(nearest(column.writer, unfit, &text).ok_or(unfit)?),
        }
        match column.writer.write(&text, &mut Vec::new()) {
            Ok(()) => return Ok(Instead::Value(text)),
            Err(next) => unfit = next,
        }
    }
}

impl Instead<'_> {
    /// Appends it as JSON.
    ///
    /// # Errors
    /// None: what is put in a value's place fits.
    pub(super) fn write(&self, column: &PlanColumn, out: &mut Vec<u8>) -> Result<(), Unfit> {
        match self {
            Instead::Null => out.extend_from_slice(b"null"),
            Instead::Value(text) => column.writer.write(text, out)?,
            Instead::Text(text) => {
                escape::string(text, out);
            }
        }
        Ok(())
    }
}
