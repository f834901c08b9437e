//! A font of two glyphs, made here: `A` is a square that is twice as wide as the type is high.

/// Units of the square that everything is measured in.
const EM: u16 = 1000;
/// How far `A` moves on.
const WIDE: u16 = 2000;

/// A TrueType file that browsers take.
pub(crate) fn font() -> Vec<u8> {
    let square = square();
    let mut glyf = vec![0; 0];
    glyf.extend(&square);
    // The first glyph stands for what is missing, and is empty.
    let loca = words(&[0, 0, (glyf.len() / 2) as u16]);
    let tables = [
        (*b"OS/2", os2()),
        (*b"cmap", cmap()),
        (*b"glyf", glyf),
        (*b"head", head()),
        (*b"hhea", hhea()),
        (*b"hmtx", words(&[EM, 0, WIDE, 0])),
        (*b"loca", loca),
        (*b"maxp", maxp()),
        (*b"name", name()),
        (*b"post", post()),
    ];
    file(&tables)
}

fn words(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn file(tables: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let count = tables.len() as u16;
    let power = count.ilog2() as u16;
    let range = 16 << power;
    let mut out = vec![0, 1, 0, 0];
    out.extend(words(&[count, range, power, count * 16 - range]));
    let mut offset = 12 + 16 * tables.len();
    for (tag, bytes) in tables {
        out.extend(tag);
        out.extend(checksum(bytes).to_be_bytes());
        out.extend((offset as u32).to_be_bytes());
        out.extend((bytes.len() as u32).to_be_bytes());
        offset += bytes.len().next_multiple_of(4);
    }
    for (_, bytes) in tables {
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    // The whole file has to sum up to a number of the format's own.
    let adjustment = 0xb1b0_afba_u32.wrapping_sub(checksum(&out));
    let head = 12 + 16 * tables.len() + tables.iter().take(3).map(|(_, b)| b.len().next_multiple_of(4)).sum::<usize>();
    out[head + 8..head + 12].copy_from_slice(&adjustment.to_be_bytes());
    out
}

fn checksum(bytes: &[u8]) -> u32 {
    bytes.chunks(4).fold(0, |sum: u32, four| {
        let mut word = [0; 4];
        word[..four.len()].copy_from_slice(four);
        sum.wrapping_add(u32::from_be_bytes(word))
    })
}

/// One contour of four points.
fn square() -> Vec<u8> {
    // Contours, box, last point, length of instructions.
    let mut glyph = words(&[1, 0, 0, WIDE, 700, 3, 0]);
    // All points on the curve, with whole words for both coordinates.
    glyph.extend([1; 4]);
    for delta in [0_i16, WIDE as i16, 0, -(WIDE as i16)] {
        glyph.extend(delta.to_be_bytes());
    }
    for delta in [0_i16, 0, 700, 0] {
        glyph.extend(delta.to_be_bytes());
    }
    glyph.resize(glyph.len().next_multiple_of(4), 0);
    glyph
}

/// `A` is glyph 1.
fn cmap() -> Vec<u8> {
    let mut table = words(&[0, 1, 3, 1, 0, 12]);
    table.extend(words(&[4, 32, 0, 4, 4, 1, 0]));
    table.extend(words(&[0x41, 0xffff, 0, 0x41, 0xffff]));
    // 0x41 + delta = 1, and 0xffff + 1 = 0.
    table.extend(words(&[1_u16.wrapping_sub(0x41), 1, 0, 0]));
    table
}

fn head() -> Vec<u8> {
    let mut table = words(&[1, 0, 1, 0, 0, 0]);
    table.extend(0x5f0f_3cf5_u32.to_be_bytes());
    table.extend(words(&[0b1011, EM]));
    // Made and changed: at the beginning of that calendar.
    table.extend([0; 16]);
    table.extend(words(&[0, 0, WIDE, 700, 0, 8, 2, 0, 0]));
    table
}

fn hhea() -> Vec<u8> {
    words(&[1, 0, 800, 200_u16.wrapping_neg(), 0, WIDE, 0, 0, WIDE, 1, 0, 0, 0, 0, 0, 0, 0, 2])
}

fn maxp() -> Vec<u8> {
    words(&[1, 0, 2, 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn os2() -> Vec<u8> {
    let mut table = words(&[4, 1500, 400, 5, 0, 650, 600, 0, 75, 650, 600, 0, 350, 50, 250, 0]);
    // Panose, ranges of characters, vendor.
    table.extend([0; 10]);
    table.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    table.extend(b"NONE");
    table.extend(words(&[0x40, 0x41, 0x41, 800, 200_u16.wrapping_neg(), 0, 800, 200]));
    table.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    table.extend(words(&[500, 700, 0, 0x20, 0]));
    table
}

fn name() -> Vec<u8> {
    let names = [(1_u16, "Own"), (2, "Regular"), (4, "Own"), (6, "Own")];
    let mut table = words(&[0, names.len() as u16, 6 + 12 * names.len() as u16]);
    let mut text = Vec::new();
    for (number, value) in names {
        let bytes: Vec<u8> = value.encode_utf16().flat_map(u16::to_be_bytes).collect();
        table.extend(words(&[3, 1, 0x409, number, bytes.len() as u16, text.len() as u16]));
        text.extend(bytes);
    }
    table.extend(text);
    table
}

fn post() -> Vec<u8> {
    let mut table = vec![0, 3, 0, 0];
    table.extend([0; 28]);
    table
}
