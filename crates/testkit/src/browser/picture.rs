//! Compression of pictures: a page has few colors, and a picture with a palette of 256 is a third of the size of one
//! without.

use std::collections::HashMap;

use anyhow::ensure;
use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Transformations};

/// The size of a palette.
const COLOURS_MAX: usize = 256;

type Colour = [u8; 3];

/// A PNG with a palette of the most frequent colors. Each other color is replaced with the nearest of them.
pub(super) fn with_palette(picture: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut decoder = Decoder::new(std::io::Cursor::new(picture));
    decoder.set_transformations(Transformations::normalize_to_color8() | Transformations::STRIP_16);
    let mut reader = decoder.read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().unwrap_or_default()];
    let frame = reader.next_frame(&mut bytes)?;
    let step = match frame.color_type {
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        other => anyhow::bail!("Chromium does not write {other:?}"),
    };
    ensure!(frame.bit_depth == BitDepth::Eight, "eight bits a channel");
    let pixels = bytes[..frame.buffer_size()].chunks_exact(step);
    let colours: Vec<Colour> = pixels.map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    let palette = palette(&colours);
    let mut known = HashMap::new();
    let indexed: Vec<u8> = colours
        .iter()
        .map(|colour| *known.entry(*colour).or_insert_with(|| nearest(&palette, *colour)))
        .collect();
    let mut small = Vec::new();
    let mut encoder = Encoder::new(&mut small, frame.width, frame.height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::High);
    encoder.set_palette(palette.concat());
    encoder.write_header()?.write_image_data(&indexed)?;
    Ok(small)
}

/// The most frequent colors.
fn palette(colours: &[Colour]) -> Vec<Colour> {
    let mut seen: HashMap<Colour, usize> = HashMap::new();
    colours.iter().for_each(|colour| *seen.entry(*colour).or_default() += 1);
    let mut seen: Vec<(Colour, usize)> = seen.into_iter().collect();
    seen.sort_by_key(|(colour, count)| (std::cmp::Reverse(*count), *colour));
    seen.into_iter().take(COLOURS_MAX).map(|(colour, _)| colour).collect()
}

fn nearest(palette: &[Colour], colour: Colour) -> u8 {
    let distance = |other: &Colour| -> u32 {
        let channels = other.iter().zip(colour);
        channels.map(|(one, other)| u32::from(one.abs_diff(other)).pow(2)).sum()
    };
    let nearest = (0..palette.len()).min_by_key(|index| distance(&palette[*index]));
    u8::try_from(nearest.unwrap_or(0)).unwrap_or(0)
}
