//! Eight points of P-256 side by side, in Jacobian coordinates: (X, Y, Z) is the point (X/Z², Y/Z³).
//!
//! ```text
//! doubling    any point of the curve: it has no point of order two
//! addition    any point and an affine one, unless the sum is of equal or opposite points
//! ```
//! **Z = 0 stays 0.** Where the addition does not hold, it gives Z = 0; from Z = 0 doubling and addition give Z = 0. So a lane
//! in which anything went wrong on the way is known at the end by its Z, and only there has to be looked for it.
//!
//! Formulas: Bernstein and Lange, <https://hyperelliptic.org/EFD/g1p/auto-shortw-jacobian-3.html>.

use std::arch::x86_64::__mmask8;

use super::field::{Element, Sum, invert_all};
use super::lanes::{LANES, Row, transpose};

/// Points other than the identity.
#[derive(Clone, Copy)]
pub struct Affine {
    /// x.
    pub x: Element<1>,
    /// y.
    pub y: Element<1>,
}

/// Points, or lanes that have to be computed otherwise (Z = 0).
#[derive(Clone, Copy)]
pub struct Jacobian {
    x: Element<2>,
    y: Element<2>,
    z: Element<4>,
}

impl Affine {
    /// Reads eight rows, one for each lane, as [`Affine::rows`] gives them.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn read(rows: [&Row; LANES]) -> Affine {
        let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
        let rows = [r0.load(), r1.load(), r2.load(), r3.load(), r4.load(), r5.load(), r6.load(), r7.load()];
        let [x0, x1, x2, x3, y0, y1, y2, y3] = transpose(rows);
        Affine { x: Element::unpack([x0, x1, x2, x3]), y: Element::unpack([y0, y1, y2, y3]) }
    }

    /// The opposite points in the lanes where the mask has a one.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn negate_where(&self, mask: __mmask8) -> Affine {
        Affine { x: self.x, y: self.y.negate_where(mask) }
    }
}

impl Jacobian {
    /// Points with Z = 1.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn from_affine(point: &Affine) -> Jacobian {
        Jacobian { x: point.x.widen(), y: point.y.widen(), z: Element::one() }
    }

    /// P becomes 2P.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn double(&mut self) {
        let Jacobian { x, y, z } = self;
        // δ = Z², γ = Y², β = Xγ, α = 3(X − δ)(X + δ). Names with a minus are opposites, so that sums of products need
        // no subtraction.
        let delta = z.square::<2>();
        let gamma = y.square::<2>();
        let two_gamma: Element<4> = gamma.double().carry();
        let minus_four_gamma: Element<8> = gamma.quadruple().negated().carry();
        let minus_four_beta = x.times::<8, 2>(&minus_four_gamma);
        let difference: Element<4> = delta.minus(x.sum()).carry();
        let sum: Element<4> = delta.plus(x.sum()).carry();
        let minus_alpha: Element<6> = difference.times::<4, 2>(&sum).triple().carry();
        // X₃ = α² − 8β, Z₃ = 2YZ, Y₃ = α(4β − X₃) − 8γ²
        let x3 = minus_alpha.square::<4>().plus::<4, 8>(minus_four_beta.double()).reduce();
        let turned: Element<4> = x3.sum().plus(minus_four_beta).carry();
        let y3 = minus_alpha.times_plus::<4, 4, 8, 5>(&turned, &two_gamma, &minus_four_gamma).reduce();
        *z = y.times::<4, 2>(z).double().carry();
        (*x, *y) = (x3, y3);
    }

    /// P becomes P + Q in the lanes where the mask has a one; Z = 0 where they were equal or opposite.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn add_where(&mut self, mask: __mmask8, other: &Affine) {
        let Jacobian { x, y, z } = self;
        let zz: Element<2> = z.square().carry();
        let zzz: Element<2> = zz.times(z).carry();
        // H = x₂Z² − X is zero for equal and for opposite points, and with it Z₃ = ZH.
        let h: Element<4> = other.x.times::<2, 2>(&zz).minus(x.sum()).carry();
        let r: Element<4> = other.y.times::<2, 2>(&zzz).minus(y.sum()).carry();
        let hh: Element<2> = h.square().carry();
        let minus_hhh: Element<2> = hh.times::<4, 2>(&h).negated().carry();
        let v = x.times::<2, 2>(&hh);
        let z3: Element<2> = z.times(&h).carry();
        // X₃ = R² − H³ − 2V, Y₃ = R(V − X₃) − YH³
        let x3 = r.square::<2>().plus::<2, 4>(minus_hhh.sum()).minus::<4, 8>(v.double()).reduce();
        let turned: Element<4> = v.minus(x3.sum()).carry();
        let y3 = r.times_plus::<4, 2, 2, 3>(&turned, y, &minus_hhh).reduce();
        *x = x.replace(mask, &x3);
        *y = y.replace(mask, &y3);
        *z = z.replace(mask, &z3.widen());
    }

    /// P becomes Q in the lanes where the mask has a one.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn set_where(&mut self, mask: __mmask8, other: &Affine) {
        self.x = self.x.replace(mask, &other.x.widen());
        self.y = self.y.replace(mask, &other.y.widen());
        self.z = self.z.replace(mask, &Element::one());
    }
}

/// Points in affine coordinates that are not reduced, and the lanes in which there is none.
pub struct Normal {
    x: Element<2>,
    y: Element<2>,
    /// Lanes that had Z = 0. What they hold otherwise says nothing.
    pub missing: __mmask8,
}

/// The y of the points with these x (the first four words of each row) whose y is odd where the mask has a one, even elsewhere:
/// the words of it, in the last four. Where no point has that x, or the row had no number below p, it is anything.
#[target_feature(enable = "avx512ifma")]
pub fn decompress(rows: &[Row; LANES], odd: __mmask8) -> [Row; LANES] {
    let Affine { x, .. } = enter(rows);
    let xx: Element<2> = x.square().carry();
    let xx_minus_three: Element<5> = xx.sum().minus(Element::<1>::one().sum().triple::<3>()).carry();
    let right: Element<3> = x.times::<5, 2>(&xx_minus_three).plus(Element::<1>::b().sum()).carry();
    let y = right.root();
    let y = y.negate_where(y.odd_lanes() ^ odd);
    let ([x0, x1, x2, x3], [y0, y1, y2, y3]) = (x.leave(), y.leave());
    stored(transpose([x0, x1, x2, x3, y0, y1, y2, y3]))
}

/// Brings many to affine coordinates with one inversion.
#[target_feature(enable = "avx512ifma")]
pub fn normalize(points: &[Jacobian]) -> Vec<Normal> {
    let mut heights = Vec::with_capacity(points.len());
    for point in points {
        heights.push(point.z);
    }
    let mut normals = Vec::with_capacity(points.len());
    for (point, (inverse, missing)) in points.iter().zip(invert_all(&heights)) {
        let squared: Element<2> = inverse.square().carry();
        let cubed: Element<2> = squared.times(&inverse).carry();
        let (x, y) = (point.x.times(&squared).carry(), point.y.times(&cubed).carry());
        normals.push(Normal { x, y, missing });
    }
    normals
}

impl Normal {
    /// The points, one row for each lane, as they are kept: [`Affine::read`] reads them.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn rows(&self) -> [Row; LANES] {
        let [x0, x1, x2, x3] = self.x.pack();
        let [y0, y1, y2, y3] = self.y.pack();
        stored(transpose([x0, x1, x2, x3, y0, y1, y2, y3]))
    }

    /// The coordinates as they are written, one row for each lane: the words of x, then those of y, lowest first.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn coordinates(&self) -> [Row; LANES] {
        let [x0, x1, x2, x3] = self.x.leave();
        let [y0, y1, y2, y3] = self.y.leave();
        stored(transpose([x0, x1, x2, x3, y0, y1, y2, y3]))
    }

    /// The points to compute with.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn affine(&self) -> Affine {
        Affine { x: Element::unpack(self.x.pack()), y: Element::unpack(self.y.pack()) }
    }

    /// The lanes whose point is not one of the curve: y² ≠ x³ − 3x + b. The arithmetic gives none, unless a processor errs.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn off_curve(&self) -> __mmask8 {
        let xx: Element<2> = self.x.square().carry();
        let xx_minus_three: Element<5> = xx.sum().minus(Element::<1>::one().sum().triple::<3>()).carry();
        let right: Sum<3> = self.x.times::<5, 2>(&xx_minus_three).plus(Element::<1>::b().sum());
        let difference: Element<5> = self.y.square::<2>().minus(right).carry();
        !difference.zero_lanes()
    }
}

/// Takes coordinates as they are written into what is computed with.
#[target_feature(enable = "avx512ifma")]
#[inline]
pub fn enter(rows: &[Row; LANES]) -> Affine {
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let rows = [r0.load(), r1.load(), r2.load(), r3.load(), r4.load(), r5.load(), r6.load(), r7.load()];
    let [x0, x1, x2, x3, y0, y1, y2, y3] = transpose(rows);
    let (x, y) = (Element::<2>::enter([x0, x1, x2, x3]), Element::<2>::enter([y0, y1, y2, y3]));
    Affine { x: Element::unpack(x.pack()), y: Element::unpack(y.pack()) }
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn stored(rows: [std::arch::x86_64::__m512i; LANES]) -> [Row; LANES] {
    let mut stored = [Row::ZERO; LANES];
    for (to, from) in stored.iter_mut().zip(rows) {
        *to = Row::store(from);
    }
    stored
}
