//! The HTTP faces: a frontend that redirects, a backend that loads.

pub(crate) mod backend;
pub(crate) mod frontend;
mod message;

pub(crate) use message::{Connection, Request, Response};
