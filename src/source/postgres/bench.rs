//! For `benches/`: what the reader does with one gulp of received bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::decode::Decoder;
use super::framing;
use super::tables::{Identity, KnownTable, Tables};
use crate::model::{Event, TableSchema};
use crate::pgoutput::Envelope;

/// A decoder of one table's changes.
#[derive(Debug)]
pub struct Decoding(Decoder);

impl Decoding {
    /// For this table.
    pub fn new(schema: Arc<TableSchema>) -> Decoding {
        let table = KnownTable { schema, types: Vec::new(), identity: Identity::Default };
        Decoding(Decoder::new(Arc::new(std::iter::once(table).collect::<Tables>())))
    }

    /// The events of whole messages.
    ///
    /// # Panics
    /// If a message is none of pgoutput's.
    pub fn decode(&mut self, frame: &Bytes) -> Vec<Event> {
        let found = framing::find(frame, usize::MAX).expect("whole messages");
        let mut events = Vec::with_capacity(found.messages);
        for (_, payload) in framing::messages(frame) {
            let Ok(Envelope::Data { message, .. }) = Envelope::decode(payload) else { panic!("no XLogData") };
            self.0.decode(frame, message, &mut events).expect("a pgoutput message");
        }
        events
    }
}
