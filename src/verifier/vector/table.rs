//! Tables of multiples: of the generator, of keys that are met for the first time, and of keys that are met often.
//!
//! ```text
//! generator    1·B … 512·B   for B = G, 2¹⁰G, 2²⁰G, … 2²⁵⁰G      26 · 512 rows, 832 KiB, made once per process
//! new key      1·Q … 8·Q                                          8 rows, made for every equation
//! known key    1·B … 16·B    for B = Q, 2³⁵Q, 2⁷⁰Q, … 2²⁴⁵Q      8 · 16 rows, 8 KiB, made when a key has been seen twice
//! ```
//! A row is a point in affine coordinates as the arithmetic keeps them. With tables for several B, the doublings between them are
//! saved, at every use.

use std::sync::OnceLock;

use p256::{ProjectivePoint, elliptic_curve::Group as _};
use scal3::point::Point;

use super::digits::Digits;
use super::lanes::{LANES, Row};
use super::point::{Affine, Jacobian, enter, normalize};

/// Windows of the generator's digits.
pub const GENERATOR_WINDOW: usize = 10;
/// Windows of the digits of a new key.
pub const NEW_WINDOW: usize = 4;
/// Windows of the digits of a known key.
pub const KNOWN_WINDOW: usize = 5;
/// How many bases a known key has.
pub const KNOWN_BASES: usize = 8;
/// How many digits of a known key go to each base.
pub const KNOWN_DIGITS: usize = Digits::<KNOWN_WINDOW>::COUNT.div_ceil(KNOWN_BASES);

/// 1·Q … 8·Q.
pub type NewKey = [Row; Digits::<NEW_WINDOW>::POINTS];

/// The table of one known key: for every base, its multiples.
pub struct KnownKey(Box<[[Row; Digits::<KNOWN_WINDOW>::POINTS]; KNOWN_BASES]>);

impl KnownKey {
    #[cfg(test)]
    pub fn empty() -> KnownKey {
        KnownKey(Box::new([[Row::ZERO; Digits::<KNOWN_WINDOW>::POINTS]; KNOWN_BASES]))
    }

    /// The multiples of one base.
    #[inline]
    pub fn base(&self, base: usize) -> &[Row; Digits::<KNOWN_WINDOW>::POINTS] {
        &self.0[base]
    }
}

/// The generator's table: for every digit, its multiples.
pub type Generator = [[Row; Digits::<GENERATOR_WINDOW>::POINTS]];

/// The generator's table, made at the first call.
#[target_feature(enable = "avx512ifma")]
pub fn generator() -> &'static Generator {
    static TABLE: OnceLock<Vec<[Row; Digits::<GENERATOR_WINDOW>::POINTS]>> = OnceLock::new();
    if let Some(table) = TABLE.get() {
        return table;
    }
    // Two threads that come here at once make the same table.
    let made = make_generator();
    TABLE.get_or_init(|| made)
}

#[target_feature(enable = "avx512ifma")]
fn make_generator() -> Vec<[Row; Digits::<GENERATOR_WINDOW>::POINTS]> {
    let mut bases = Vec::new();
    let mut base = ProjectivePoint::generator();
    for _ in 0..Digits::<GENERATOR_WINDOW>::COUNT {
        bases.push(written(&base));
        (0..GENERATOR_WINDOW).for_each(|_| base = base.double());
    }
    let mut table = Vec::new();
    for bases in bases.chunks(LANES) {
        let mut rows = [Row::ZERO; LANES];
        rows.iter_mut().zip(bases.iter().cycle()).for_each(|(row, base)| *row = *base);
        let multiples = multiples(&enter(&rows), Digits::<GENERATOR_WINDOW>::POINTS);
        let mut tables = vec![[Row::ZERO; Digits::<GENERATOR_WINDOW>::POINTS]; LANES];
        for (at, point) in normalize(&multiples).iter().enumerate() {
            for (table, row) in tables.iter_mut().zip(point.rows()) {
                table[at] = row;
            }
        }
        tables.truncate(bases.len());
        table.append(&mut tables);
    }
    table
}

/// The tables of eight groups of new keys and more, with one inversion: for every group, one for each lane.
#[target_feature(enable = "avx512ifma")]
pub fn new_keys(groups: &[Affine]) -> Vec<[NewKey; LANES]> {
    let points = Digits::<NEW_WINDOW>::POINTS;
    let mut all = Vec::with_capacity(groups.len() * points);
    for group in groups {
        all.append(&mut multiples(group, points));
    }
    let mut tables = Vec::with_capacity(groups.len());
    for points in normalize(&all).chunks_exact(points) {
        let mut group = [[Row::ZERO; Digits::<NEW_WINDOW>::POINTS]; LANES];
        for (at, point) in points.iter().enumerate() {
            for (table, row) in group.iter_mut().zip(point.rows()) {
                table[at] = row;
            }
        }
        tables.push(group);
    }
    tables
}

/// The tables of at most eight keys.
#[target_feature(enable = "avx512ifma")]
pub fn known_keys(keys: &[Point]) -> Vec<KnownKey> {
    let mut rows = [Row::ZERO; LANES];
    rows.iter_mut().zip(keys.iter().cycle()).for_each(|(row, key)| *row = row_of(key));
    let mut base = Jacobian::from_affine(&enter(&rows));
    let mut bases = Vec::with_capacity(KNOWN_BASES);
    for _ in 0..KNOWN_BASES {
        bases.push(base);
        for _ in 0..KNOWN_DIGITS * KNOWN_WINDOW {
            base.double();
        }
    }
    let points = Digits::<KNOWN_WINDOW>::POINTS;
    let mut all = Vec::with_capacity(KNOWN_BASES * points);
    for base in normalize(&bases) {
        all.append(&mut multiples(&base.affine(), points));
    }
    let mut tables = Vec::new();
    for _ in keys.iter().take(LANES) {
        tables.push(KnownKey(Box::new([[Row::ZERO; Digits::<KNOWN_WINDOW>::POINTS]; KNOWN_BASES])));
    }
    for (at, point) in normalize(&all).iter().enumerate() {
        for (table, row) in tables.iter_mut().zip(point.rows()) {
            table.0[at / points][at % points] = row;
        }
    }
    tables
}

/// 1·P, 2·P, … n·P. None of them is the identity, since n is far below the order of the points.
#[target_feature(enable = "avx512ifma")]
fn multiples(point: &Affine, n: usize) -> Vec<Jacobian> {
    let mut multiples: Vec<Jacobian> = Vec::with_capacity(n);
    multiples.push(Jacobian::from_affine(point));
    for k in 2..=n {
        // k·P stands at k − 1. A sum of equal points, which the addition has no formula for, is a doubling here.
        let mut next = multiples[if k % 2 == 0 { k / 2 } else { k - 1 } - 1];
        if k % 2 == 0 {
            next.double();
        } else {
            next.add_where(!0, point);
        }
        multiples.push(next);
    }
    multiples
}

/// The coordinates of a key as they are written, to be entered.
pub fn row_of(key: &Point) -> Row {
    let (x, y) = key.coordinates();
    row(&x, &y)
}

fn written(point: &ProjectivePoint) -> Row {
    use p256::elliptic_curve::point::AffineCoordinates as _;
    let point = point.to_affine();
    row(&point.x().into(), &point.y().into())
}

/// Coordinates as they are written, in a row.
pub fn row(x: &[u8; 32], y: &[u8; 32]) -> Row {
    let mut row = Row::ZERO;
    let bytes = x.chunks_exact(8).rev().chain(y.chunks_exact(8).rev());
    for (word, bytes) in row.0.iter_mut().zip(bytes) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    row
}

/// The coordinates of a row as they are written.
pub fn coordinates(row: &Row) -> ([u8; 32], [u8; 32]) {
    let mut both = [[0; 32]; 2];
    let (x, y) = row.0.split_at(4);
    for (bytes, words) in both.iter_mut().zip([x, y]) {
        for (bytes, word) in bytes.chunks_exact_mut(8).rev().zip(words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
    }
    let [x, y] = both;
    (x, y)
}
