//! Pixels as a PNG file (ISO/IEC 15948): three bytes a pixel, one piece of compressed data. Reads none.

use std::io::{self, Write as _};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The file of rows of red, green and blue.
///
/// # Errors
/// If the compressor fails.
pub(super) fn file(pixels: &[u8], width: u32, height: u32) -> io::Result<Vec<u8>> {
    let mut file = SIGNATURE.to_vec();
    // Eight bits a sample, colors without a palette, the one compression, the one set of filters, no interlacing.
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    chunk(&mut file, b"IHDR", &header);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    for row in pixels.chunks_exact(3 * width as usize) {
        // Its filter: none.
        encoder.write_all(&[0])?;
        encoder.write_all(row)?;
    }
    chunk(&mut file, b"IDAT", &encoder.finish()?);
    chunk(&mut file, b"IEND", &[]);
    Ok(file)
}

fn chunk(file: &mut Vec<u8>, name: &[u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(name);
    crc.update(data);
    // A picture has far fewer bytes than 4 GiB.
    file.extend_from_slice(&(data.len() as u32).to_be_bytes());
    file.extend_from_slice(name);
    file.extend_from_slice(data);
    file.extend_from_slice(&crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn pixels_come_back() {
        let pixels: Vec<u8> = (0..2 * 3 * 3).collect();
        let file = file(&pixels, 3, 2).unwrap();
        let rest = file.strip_prefix(SIGNATURE).unwrap();
        // The end is the same in every PNG.
        assert!(rest.ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
        assert_eq!(rest[..8], *b"\0\0\0\x0dIHDR");
        let data = &rest[8 + 13 + 4..];
        let len = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(&data[8..8 + len]).read_to_end(&mut rows).unwrap();
        assert_eq!(rows, [&[0], &pixels[..9], &[0], &pixels[9..]].concat());
    }
}
