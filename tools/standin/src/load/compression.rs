//! Compressed bodies: decompressed whole before anything is parsed, as the backend does for JSON.

use std::io::Read;

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

    /// The body as it was before compression.
    pub fn expand(self, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let read = match self {
            Compression::None => return Ok(body),
            Compression::Gzip => flate2::read::MultiGzDecoder::new(&*body).read_to_end(&mut out),
            Compression::Deflate => flate2::read::ZlibDecoder::new(&*body).read_to_end(&mut out),
            Compression::Lz4Frame => lz4_flex::frame::FrameDecoder::new(&*body).read_to_end(&mut out),
            Compression::Zstd => zstd::stream::read::Decoder::new(&*body).and_then(|mut d| d.read_to_end(&mut out)),
        };
        read.map_err(|error| format!("Failed to decompress the body: {error}"))?;
        Ok(out)
    }
}
