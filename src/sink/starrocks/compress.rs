//! A body made smaller on its way to the connection.
//!
//! In: the body, piece by piece, as it is encoded. Out: one LZ4 or Zstandard frame, as far as it is made. Always: one
//! frame for a whole body, ended when the body ends and not before: a StarRocks backend reads the first frame and
//! nothing behind it. Not here: who asks for it (`Options`), the rows (`encode`).

use std::fmt;
use std::io::{self, Write};

use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
use zstd::stream::write::Encoder as ZstdEncoder;

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not.
    #[default]
    None,
    /// LZ4, as a frame.
    Lz4,
    /// Zstandard of level 1: higher ones cost more than they save (`docs/decisions/0004-body-format.md`).
    Zstd,
}

/// The level of Zstandard.
const ZSTD_LEVEL: i32 = 1;

impl Compression {
    /// The value of the header `compression`. (StarRocks documentation, STREAM LOAD.)
    pub(super) fn header(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Lz4 => Some("LZ4_FRAME"),
            Compression::Zstd => Some("ZSTD"),
        }
    }
}

/// A frame in the making.
pub(super) struct Packer {
    frame: Frame,
    compression: Compression,
}

enum Frame {
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packer").field(&self.compression).finish()
    }
}

impl Packer {
    /// `None` if nothing is to be compressed.
    ///
    /// # Errors
    /// The compressor finds no memory.
    pub(super) fn new(compression: Compression) -> io::Result<Option<Packer>> {
        let frame = match compression {
            Compression::None => return Ok(None),
            Compression::Lz4 => {
                // Blocks of a fixed size, so that the first piece does not decide on the memory.
                let info = FrameInfo::new().block_size(BlockSize::Max256KB);
                Frame::Lz4(Box::new(FrameEncoder::with_frame_info(info, Vec::new())))
            }
            Compression::Zstd => Frame::Zstd(ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?),
        };
        Ok(Some(Packer { frame, compression }))
    }

    /// Takes what is in `piece` and leaves what the frame has grown by there, which may be nothing unless it is the
    /// last piece.
    ///
    /// # Errors
    /// The compressor finds no memory.
    pub(super) fn pack(&mut self, piece: &mut Vec<u8>, last: bool) -> io::Result<()> {
        let made = match &mut self.frame {
            Frame::Lz4(frame) => {
                frame.write_all(piece)?;
                if last {
                    frame.try_finish()?;
                }
                frame.get_mut()
            }
            Frame::Zstd(frame) => {
                frame.write_all(piece)?;
                if last {
                    frame.do_finish()?;
                }
                frame.get_mut()
            }
        };
        piece.clear();
        std::mem::swap(piece, made);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Every piece, packed.
    fn packed(compression: Compression, pieces: &[&[u8]]) -> Vec<u8> {
        let mut packer = Packer::new(compression).unwrap().unwrap();
        let mut all = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            let mut piece = piece.to_vec();
            packer.pack(&mut piece, at + 1 == pieces.len()).unwrap();
            all.extend_from_slice(&piece);
        }
        all
    }

    fn unpacked(compression: Compression, body: &[u8]) -> io::Result<(Vec<u8>, usize)> {
        let (mut out, mut rest) = (Vec::new(), body);
        match compression {
            Compression::Lz4 => lz4_flex::frame::FrameDecoder::new(&mut rest).read_to_end(&mut out)?,
            _ => zstd::stream::read::Decoder::with_buffer(&mut rest)?.single_frame().read_to_end(&mut out)?,
        };
        Ok((out, rest.len()))
    }

    /// Bytes that cannot be made much smaller.
    fn noise() -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(7);
        (0..1_000_000).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn a_body_of_any_pieces_is_one_frame() {
        let noise = noise();
        let text = br#"{"id":1,"name":"a"},"#.repeat(50_000);
        let cases: [(&str, Vec<&[u8]>); 5] = [
            ("one small piece", vec![b"[]"]),
            ("an empty piece among others", vec![b"[", b"", b"]"]),
            ("repeating text in pieces", text.chunks(256 << 10).collect()),
            ("noise in pieces", noise.chunks(256 << 10).collect()),
            ("one huge piece", vec![&noise]),
        ];
        for compression in [Compression::Lz4, Compression::Zstd] {
            for (name, pieces) in &cases {
                let body = packed(compression, pieces);
                let (out, left) = unpacked(compression, &body).unwrap();
                assert_eq!((out, left), (pieces.concat(), 0), "{compression:?}, {name}");
                // The backend needs the longest possible header of an LZ4 frame in its first look.
                assert!(body.len() >= 9, "{compression:?}, {name}");
            }
        }
    }

    #[test]
    fn a_frame_has_no_end_before_the_last_piece() {
        let text = noise();
        for compression in [Compression::Lz4, Compression::Zstd] {
            let mut packer = Packer::new(compression).unwrap().unwrap();
            let (mut begun, mut end) = (text.clone(), Vec::new());
            packer.pack(&mut begun, false).unwrap();
            packer.pack(&mut end, true).unwrap();
            assert!(!begun.is_empty() && !end.is_empty(), "{compression:?}");
            let cut = unpacked(compression, &begun).map(|(out, _)| out.len());
            assert!(cut.is_err() || cut.is_ok_and(|length| length < text.len()), "{compression:?}");
            begun.append(&mut end);
            assert_eq!(unpacked(compression, &begun).unwrap(), (text.clone(), 0), "{compression:?}");
        }
    }

    #[test]
    fn the_same_pieces_give_the_same_frame() {
        let text = br#"{"id":1},"#.repeat(100_000);
        let pieces: Vec<&[u8]> = text.chunks(256 << 10).collect();
        for compression in [Compression::Lz4, Compression::Zstd] {
            assert_eq!(packed(compression, &pieces), packed(compression, &pieces));
        }
    }
}
