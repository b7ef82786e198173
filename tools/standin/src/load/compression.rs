//! Compressed bodies: decompressed whole before anything is parsed, as the backend does for JSON.

use std::io::Read;

/// Longest body a compressed one may expand to; a StarRocks backend ends at its memory limit.
const EXPANDED_BYTES_MAX: u64 = 2 << 30;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not.
    None,
    /// gzip, one or several members.
    Gzip,
    /// zlib.
    Deflate,
    /// LZ4 frames.
    Lz4Frame,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// By the name of the `compression` header; empty = none.
    pub(super) fn named(name: &str) -> Result<Compression, String> {
        match name.to_ascii_uppercase().as_str() {
            "" | "NONE" | "IDENTITY" => Ok(Compression::None),
            "GZIP" => Ok(Compression::Gzip),
            "DEFLATE" | "ZLIB" => Ok(Compression::Deflate),
            "LZ4_FRAME" => Ok(Compression::Lz4Frame),
            "ZSTD" => Ok(Compression::Zstd),
            "BZIP2" | "SNAPPY" | "LZ4" | "LZO" => Err(format!("starrocks-standin does not model compression {name}")),
            _ => Err(format!("Unsupported compression type: {name}")),
        }
    }

    /// The body as it was before compression. Of LZ4 and Zstandard the first frame alone, whatever follows it: a backend
    /// hands a JSON body to its decompressor until that calls the stream ended, and never looks at the rest (StarRocks
    /// source, `stream_load_pipe.cpp`).
    pub fn expand(self, body: Vec<u8>) -> Result<Vec<u8>, String> {
        self.expand_within(body, EXPANDED_BYTES_MAX)
    }

    fn expand_within(self, body: Vec<u8>, max: u64) -> Result<Vec<u8>, String> {
        let failed = |error: std::io::Error| format!("Failed to decompress the body: {error}");
        let decoder: Box<dyn Read + '_> = match self {
            Compression::None => return Ok(body),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(&*body)),
            Compression::Deflate => Box::new(flate2::read::ZlibDecoder::new(&*body)),
            Compression::Lz4Frame => Box::new(lz4_flex::frame::FrameDecoder::new(&*body)),
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(&*body).map_err(failed)?.single_frame()),
        };
        let mut out = Vec::new();
        decoder.take(max.saturating_add(1)).read_to_end(&mut out).map_err(failed)?;
        if out.len() as u64 > max {
            return Err(format!("starrocks-standin does not model bodies that expand beyond {max} bytes"));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_small_body_does_not_expand_without_limit() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let gzip = encoder.write_all(&[b' '; 100_000]).and_then(|()| encoder.finish()).expect("gzip");
        let zstd = zstd::stream::encode_all(&[b' '; 100_000][..], 1).expect("zstd");
        for (compression, body) in [(Compression::Gzip, gzip), (Compression::Zstd, zstd)] {
            let fits = compression.expand_within(body.clone(), 100_000).expect("as large as allowed");
            assert_eq!(fits.len(), 100_000);
            let refused = compression.expand_within(body, 99_999).expect_err("one byte too many");
            assert!(refused.contains("does not model bodies that expand beyond"), "{refused}");
        }
    }
}
