//! pgoutput messages.
