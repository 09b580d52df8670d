//! uG + vQ for many equations, eight at a time.
//!
//! ```text
//! new keys      table of Q │ 63 × (4 doublings, add a multiple of Q)                          ┐ 26 × add      ┐ one
//! known keys               │  7 × (add a multiple of each of 8 bases), 5 doublings between    ┘ multiple of G ┘ inversion
//! ```
//! Equations of new keys and of known ones take different steps, so a group of eight has one kind only. One inversion is shared by
//! the tables of a block, and one by its results.

use std::arch::x86_64::__mmask8;
use std::sync::Arc;

use p256::Scalar;

use super::digits::{Digit, Digits};
use super::lanes::{LANES, Row};
use super::point::{Affine, Jacobian, enter, normalize};
use super::table::{
    self, GENERATOR_WINDOW, Generator, KNOWN_BASES, KNOWN_DIGITS, KNOWN_WINDOW, KnownKey, NEW_WINDOW, NewKey,
};
use crate::questions::{Equation, Solution};

/// How many groups share their inversions: enough to make those cheap, and few enough that their tables stay in the cache.
const BLOCK: usize = 32;

/// What one lane has to compute.
pub struct Lane<'a> {
    /// uG + vQ.
    pub equation: Equation<'a>,
    /// The table of Q, when it has one.
    pub table: Option<Arc<KnownKey>>,
}

/// Solves the equations of many lanes, in their order.
#[target_feature(enable = "avx512ifma")]
pub fn solve(lanes: &[Lane<'_>]) -> Vec<Solution> {
    let generator = table::generator();
    let mut solutions = vec![None; lanes.len()];
    let (mut known, mut new): (Vec<usize>, Vec<usize>) = (0..lanes.len()).partition(|at| lanes[*at].table.is_some());
    // Known keys that do not fill a group take the lanes that a group of new keys leaves free.
    let (rest, room) = (known.len() % LANES, (LANES - new.len() % LANES) % LANES);
    if rest <= room {
        new.extend(known.drain(known.len() - rest..));
    }
    for block in new.chunks(BLOCK * LANES) {
        let sums = of_new_keys(generator, lanes, block);
        settle(&sums, block, &mut solutions);
    }
    for block in known.chunks(BLOCK * LANES) {
        let sums = of_known_keys(generator, lanes, block);
        settle(&sums, block, &mut solutions);
    }
    solutions
}

#[target_feature(enable = "avx512ifma")]
fn of_new_keys(generator: &Generator, lanes: &[Lane<'_>], block: &[usize]) -> Vec<Sum> {
    let mut keys = Vec::with_capacity(BLOCK);
    for group in block.chunks(LANES) {
        let mut rows = [Row::ZERO; LANES];
        for (row, at) in rows.iter_mut().zip(members(group)) {
            *row = table::row_of(lanes[at].equation.key);
        }
        keys.push(enter(&rows));
    }
    let mut sums = Vec::with_capacity(BLOCK);
    for (group, tables) in block.chunks(LANES).zip(table::new_keys(&keys)) {
        let (u, v) = factors(lanes, group);
        let mut sum = times_new(&v, &tables);
        sum.add_generator(generator, &u);
        sums.push(sum);
    }
    sums
}

#[target_feature(enable = "avx512ifma")]
fn of_known_keys(generator: &Generator, lanes: &[Lane<'_>], block: &[usize]) -> Vec<Sum> {
    let mut sums = Vec::with_capacity(BLOCK);
    for group in block.chunks(LANES) {
        let (u, v) = factors(lanes, group);
        // Equations come here because they have a table.
        let tables: Vec<&KnownKey> = members(group).into_iter().filter_map(|at| lanes[at].table.as_deref()).collect();
        let mut sum = Sum::empty();
        if let Ok(tables) = tables.try_into() {
            sum.add_known(&v, &tables);
            sum.add_generator(generator, &u);
        }
        sums.push(sum);
    }
    sums
}

/// The equation of each lane. Lanes that are left over do what the last one does; nobody reads them.
fn members(group: &[usize]) -> [usize; LANES] {
    let last = group.last().copied().unwrap_or(0);
    std::array::from_fn(|lane| group.get(lane).copied().unwrap_or(last))
}

fn factors(lanes: &[Lane<'_>], group: &[usize]) -> ([Scalar; LANES], [Scalar; LANES]) {
    let members = members(group);
    (members.map(|at| lanes[at].equation.u), members.map(|at| lanes[at].equation.v))
}

/// Brings the sums to affine coordinates and writes them to their places.
#[target_feature(enable = "avx512ifma")]
fn settle(sums: &[Sum], block: &[usize], solutions: &mut [Solution]) {
    let mut points = Vec::with_capacity(sums.len());
    for sum in sums {
        points.push(sum.point);
    }
    for ((group, sum), normal) in block.chunks(LANES).zip(sums).zip(normalize(&points)) {
        let unsettled = sum.empty | normal.missing | normal.off_curve();
        for (lane, (at, row)) in group.iter().zip(normal.coordinates()).enumerate() {
            if unsettled & (1 << lane) == 0 {
                solutions[*at] = Some(table::coordinates(&row));
            }
        }
    }
}

/// A sum of points in each lane.
struct Sum {
    point: Jacobian,
    /// Lanes to which nothing was added yet. Their point is any.
    empty: __mmask8,
}

impl Sum {
    #[target_feature(enable = "avx512ifma")]
    fn empty() -> Sum {
        let rows = [&Row::ZERO; LANES];
        Sum { point: Jacobian::from_affine(&Affine::read(rows)), empty: !0 }
    }

    /// Adds one point of each table, as the digit says.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn add<const N: usize>(&mut self, digit: &Digit, tables: [&[Row; N]; LANES]) {
        let [t0, t1, t2, t3, t4, t5, t6, t7] = tables;
        let [a0, a1, a2, a3, a4, a5, a6, a7] = digit.at.0;
        let rows =
            [row(t0, a0), row(t1, a1), row(t2, a2), row(t3, a3), row(t4, a4), row(t5, a5), row(t6, a6), row(t7, a7)];
        let point = Affine::read(rows).negate_where(digit.negative);
        let first = digit.some & self.empty;
        self.point.add_where(digit.some & !self.empty, &point);
        if first != 0 {
            self.point.set_where(first, &point);
            self.empty &= !first;
        }
    }

    /// Adds uG.
    #[target_feature(enable = "avx512ifma")]
    fn add_generator(&mut self, generator: &Generator, u: &[Scalar; LANES]) {
        let digits = Digits::<GENERATOR_WINDOW>::new(u);
        for (i, multiples) in generator.iter().enumerate() {
            self.add(&digits.digit(i), [multiples; LANES]);
        }
    }

    /// Adds vQ, where the sum is empty.
    #[target_feature(enable = "avx512ifma")]
    fn add_known(&mut self, v: &[Scalar; LANES], tables: &[&KnownKey; LANES]) {
        let digits = Digits::<KNOWN_WINDOW>::new(v);
        for i in (0..KNOWN_DIGITS).rev() {
            if i + 1 < KNOWN_DIGITS {
                self.double(KNOWN_WINDOW);
            }
            for base in 0..KNOWN_BASES {
                let place = base * KNOWN_DIGITS + i;
                if place < Digits::<KNOWN_WINDOW>::COUNT {
                    let [t0, t1, t2, t3, t4, t5, t6, t7] = tables;
                    let [t0, t1, t2, t3] = [t0.base(base), t1.base(base), t2.base(base), t3.base(base)];
                    let [t4, t5, t6, t7] = [t4.base(base), t5.base(base), t6.base(base), t7.base(base)];
                    self.add(&digits.digit(place), [t0, t1, t2, t3, t4, t5, t6, t7]);
                }
            }
        }
    }

    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn double(&mut self, times: usize) {
        for _ in 0..times {
            self.point.double();
        }
    }
}

/// The row that a digit names. Digits name rows that are there; the remainder makes that visible to the compiler.
#[inline]
fn row<const N: usize>(table: &[Row; N], at: u64) -> &Row {
    &table[at as usize % N]
}

/// vQ.
#[target_feature(enable = "avx512ifma")]
fn times_new(v: &[Scalar; LANES], tables: &[NewKey; LANES]) -> Sum {
    let digits = Digits::<NEW_WINDOW>::new(v);
    let [t0, t1, t2, t3, t4, t5, t6, t7] = tables;
    let tables = [t0, t1, t2, t3, t4, t5, t6, t7];
    let mut sum = Sum::empty();
    for i in (0..Digits::<NEW_WINDOW>::COUNT).rev() {
        if i + 1 < Digits::<NEW_WINDOW>::COUNT {
            sum.double(NEW_WINDOW);
        }
        sum.add(&digits.digit(i), tables);
    }
    sum
}
