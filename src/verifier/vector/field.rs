//! Eight numbers modulo p side by side, where p = 2²⁵⁶ − 2²²⁴ + 2¹⁹² + 2⁹⁶ − 1 is the prime of P-256.
//!
//! ```text
//! number = limb₀ + limb₁·2⁵² + limb₂·2¹⁰⁴ + limb₃·2¹⁵⁶ + limb₄·2²⁰⁸        one vector for each limb, a lane for each number
//!
//! Element<B>    0 ≤ number ≤ B·p, every limb in 0..2⁵²      can be multiplied: IFMA reads 52 bits of each factor
//! Sum<B>        0 ≤ number ≤ B·p, limbs signed and wider    can be added to, carried and reduced
//! ```
//! Numbers are not reduced until they must be. How far above p they may be is part of their type, and each operation asserts
//! at compile time that its result is as small as its type says: a formula that could overflow does not compile.
//!
//! Products are Montgomery products (a·b/R mod p with R = 2²⁶⁰), so numbers are kept as a·R, [`Element::enter`] to
//! [`Element::leave`]. R > 16p, so a sum of products that is at most k·p² comes out as at most (k/16 + 1)·p.
//! Montgomery, "Modular multiplication without trial division": <https://doi.org/10.1090/S0025-5718-1985-0777282-X>.

// An iterator is not compiled for the processors that these functions are for, and its closures are calls then.
#![expect(clippy::needless_range_loop, reason = "loops over limbs that must become straight code")]

use std::arch::x86_64::{
    __m512i, __mmask8, _mm512_add_epi64, _mm512_and_si512, _mm512_cmplt_epi64_mask, _mm512_madd52hi_epu64,
    _mm512_madd52lo_epu64, _mm512_mask_blend_epi64, _mm512_or_si512, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_slli_epi64, _mm512_srai_epi64, _mm512_srli_epi64, _mm512_sub_epi64, _mm512_testn_epi64_mask,
};

#[cfg(test)]
mod tests;

/// Limbs of a number.
const LIMBS: usize = 5;
/// Bits of a limb.
const BITS: u32 = 52;
const MASK: i64 = (1 << BITS) - 1;

/// p.
const PRIME: [i64; LIMBS] = [MASK, (1 << 44) - 1, 0, 1 << 36, (1 << 48) - (1 << 16)];
/// R mod p: the number one, as it is kept.
const ONE: [i64; LIMBS] = [0x10, 0xf_0000_0000_0000, 0xf_ffff_ffff_ffff, 0xf_feff_ffff_ffff, 0xf_ffff];
/// R² mod p.
const R_SQUARED: [i64; LIMBS] = [0x300, 0xf_ffff_fff0_0000, 0xf_fffe_ffff_fffb, 0xf_dfff_ffff_ffff, 0x4ff_ffff];
/// b of the curve y² = x³ − 3x + b, as it is kept.
const B: [i64; LIMBS] =
    [0xd_f622_9c4b_ddfd, 0xc_a884_3090_d89c, 0x2_12ed_6acf_005c, 0x8_3415_a220_abf7, 0xc300_61dd_4874];

/// Eight numbers of at most `BOUND`·p that can be multiplied.
#[derive(Clone, Copy)]
pub struct Element<const BOUND: u32>([__m512i; LIMBS]);

/// Eight numbers of at most `BOUND`·p, limbs not carried. The limbs are below `BOUND`·2⁵⁷ in absolute value: a product has
/// limbs below 2⁵⁷ and a bound of at least 2, a difference adds at most 2⁵² for each p, and bounds end at 16.
#[derive(Clone, Copy)]
pub struct Sum<const BOUND: u32>([__m512i; LIMBS]);

impl<const A: u32> Element<A> {
    /// The number one in every lane.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn one() -> Element<A> {
        const { assert!(A >= 1) };
        constant(ONE)
    }

    /// b of the curve.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn b() -> Element<A> {
        const { assert!(A >= 1) };
        constant(B)
    }

    /// The same number, of which less is promised.
    #[inline]
    pub fn widen<const C: u32>(self) -> Element<C> {
        const { assert!(C >= A) };
        Element(self.0)
    }

    /// The same number, to add to.
    #[inline]
    pub fn sum(self) -> Sum<A> {
        Sum(self.0)
    }

    /// a·b/R.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn times<const B: u32, const C: u32>(&self, other: &Element<B>) -> Sum<C> {
        const { assert!(16 * C >= 16 + A * B) };
        reduce_product(multiply([_mm512_setzero_si512(); 2 * LIMBS], &self.0, &other.0))
    }

    /// a·b/R + c·d/R, reduced once.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn times_plus<const B: u32, const D: u32, const E: u32, const C: u32>(
        &self,
        b: &Element<B>,
        c: &Element<D>,
        d: &Element<E>,
    ) -> Sum<C> {
        const { assert!(16 * C >= 16 + A * B + D * E) };
        let first = multiply([_mm512_setzero_si512(); 2 * LIMBS], &self.0, &b.0);
        reduce_product(multiply(first, &c.0, &d.0))
    }

    /// a²/R.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn square<const C: u32>(&self) -> Sum<C> {
        const { assert!(16 * C >= 16 + A * A) };
        let a = &self.0;
        let mut product = [_mm512_setzero_si512(); 2 * LIMBS];
        for i in 0..LIMBS {
            for j in i + 1..LIMBS {
                product[i + j] = _mm512_madd52lo_epu64(product[i + j], a[i], a[j]);
                product[i + j + 1] = _mm512_madd52hi_epu64(product[i + j + 1], a[i], a[j]);
            }
        }
        for i in 1..2 * LIMBS - 1 {
            product[i] = _mm512_add_epi64(product[i], product[i]);
        }
        for i in 0..LIMBS {
            product[2 * i] = _mm512_madd52lo_epu64(product[2 * i], a[i], a[i]);
            product[2 * i + 1] = _mm512_madd52hi_epu64(product[2 * i + 1], a[i], a[i]);
        }
        reduce_product(product)
    }

    /// a²ⁿ, for n of at least one.
    #[target_feature(enable = "avx512ifma")]
    fn square_times(&self, n: u32) -> Element<2> {
        const { assert!(A <= 4) };
        let mut power: Element<2> = self.square().carry();
        for _ in 1..n {
            power = power.square().carry();
        }
        power
    }

    /// The inverse a^(p−2); of zero, zero.
    #[target_feature(enable = "avx512ifma")]
    pub fn invert(&self) -> Element<2> {
        const { assert!(A <= 4) };
        // The names say how many ones the exponent has in binary; p − 2 in hexadecimal is
        // ffffffff 00000001 00000000 00000000 00000000 ffffffff ffffffff fffffffd.
        let x1 = self;
        let x2: Element<2> = x1.square_times(1).times(x1).carry();
        let x4: Element<2> = x2.square_times(2).times(&x2).carry();
        let x6: Element<2> = x4.square_times(2).times(&x2).carry();
        let x12: Element<2> = x6.square_times(6).times(&x6).carry();
        let x24: Element<2> = x12.square_times(12).times(&x12).carry();
        let x30: Element<2> = x24.square_times(6).times(&x6).carry();
        let x32: Element<2> = x30.square_times(2).times(&x2).carry();
        let high: Element<2> = x32.square_times(32).times(x1).carry();
        let high: Element<2> = high.square_times(128).times(&x32).carry();
        let high: Element<2> = high.square_times(32).times(&x32).carry();
        let high: Element<2> = high.square_times(30).times(&x30).carry();
        high.square_times(2).times(x1).carry()
    }

    /// A square root a^((p+1)/4), where there is one.
    #[target_feature(enable = "avx512ifma")]
    pub fn root(&self) -> Element<2> {
        const { assert!(A <= 4) };
        // (p + 1)/4 = (2³² − 1)·2²²² + 2¹⁹⁰ + 2⁹⁴. The names are those of `invert`.
        let x1 = self;
        let x2: Element<2> = x1.square_times(1).times(x1).carry();
        let x4: Element<2> = x2.square_times(2).times(&x2).carry();
        let x8: Element<2> = x4.square_times(4).times(&x4).carry();
        let x16: Element<2> = x8.square_times(8).times(&x8).carry();
        let x32: Element<2> = x16.square_times(16).times(&x16).carry();
        let high: Element<2> = x32.square_times(32).times(x1).carry();
        let high: Element<2> = high.square_times(96).times(x1).carry();
        high.square_times(94)
    }

    /// The lanes whose number in 0..p is odd.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn odd_lanes(&self) -> __mmask8 {
        const { assert!(A <= 16) };
        let [lowest, ..] = self.leave();
        !_mm512_testn_epi64_mask(lowest, _mm512_set1_epi64(1))
    }

    /// The lanes of `other` where the mask has a one, the lanes of `self` elsewhere.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn replace(&self, mask: __mmask8, other: &Element<A>) -> Element<A> {
        let mut limbs = self.0;
        for i in 0..LIMBS {
            limbs[i] = _mm512_mask_blend_epi64(mask, limbs[i], other.0[i]);
        }
        Element(limbs)
    }

    /// −a in the lanes where the mask has a one.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn negate_where(&self, mask: __mmask8) -> Element<A> {
        self.replace(mask, &self.sum().negated().carry())
    }

    /// The lanes that are zero modulo p.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn zero_lanes(&self) -> __mmask8 {
        let [l0, l1, l2, l3, l4] = self.sum().canonical();
        let any = _mm512_or_si512(_mm512_or_si512(l0, l1), _mm512_or_si512(l2, l3));
        let any = _mm512_or_si512(any, l4);
        _mm512_testn_epi64_mask(any, any)
    }

    /// Takes numbers below 2²⁵⁶ as they are kept: a becomes a·R. The words are the four of each number, lowest first.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn enter(words: [__m512i; 4]) -> Element<2> {
        // Below 2²⁵⁶ is not below p, but below 2p.
        let number: Element<2> = unpack(words);
        number.times(&constant::<1>(R_SQUARED)).carry()
    }

    /// The four words of each number as it is written: in 0..p, and without R.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn leave(&self) -> [__m512i; 4] {
        const { assert!(A <= 16) };
        let number: Sum<2> = self.times(&constant::<1>([1, 0, 0, 0, 0]));
        pack(number.canonical())
    }

    /// The four words of each number as it is kept, in 0..p.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn pack(&self) -> [__m512i; 4] {
        pack(self.sum().canonical())
    }
}

impl Element<1> {
    /// Reads what [`Element::pack`] gave.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn unpack(words: [__m512i; 4]) -> Element<1> {
        unpack(words)
    }
}

impl<const A: u32> Sum<A> {
    /// a + b.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn plus<const B: u32, const C: u32>(self, other: Sum<B>) -> Sum<C> {
        const { assert!(C >= A + B && C <= 16) };
        let mut limbs = self.0;
        for i in 0..LIMBS {
            limbs[i] = _mm512_add_epi64(limbs[i], other.0[i]);
        }
        Sum(limbs)
    }

    /// a − b, as a + (B·p − b).
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn minus<const B: u32, const C: u32>(self, other: Sum<B>) -> Sum<C> {
        self.plus(other.negated())
    }

    /// −a, as A·p − a.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn negated(self) -> Sum<A> {
        const { assert!(A <= 16) };
        let mut limbs = self.0;
        for i in 0..LIMBS {
            limbs[i] = _mm512_sub_epi64(_mm512_set1_epi64(PRIME[i] * A as i64), limbs[i]);
        }
        Sum(limbs)
    }

    /// 2a.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn double<const C: u32>(self) -> Sum<C> {
        self.plus(self)
    }

    /// 3a.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn triple<const C: u32>(self) -> Sum<C> {
        const { assert!(C >= 3 * A && C <= 16) };
        let mut limbs = self.0;
        for i in 0..LIMBS {
            limbs[i] = _mm512_add_epi64(_mm512_add_epi64(limbs[i], limbs[i]), limbs[i]);
        }
        Sum(limbs)
    }

    /// 4a.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn quadruple<const C: u32>(self) -> Sum<C> {
        const { assert!(C >= 4 * A && C <= 16) };
        let mut limbs = self.0;
        for i in 0..LIMBS {
            limbs[i] = _mm512_slli_epi64::<2>(limbs[i]);
        }
        Sum(limbs)
    }

    /// Carries from limb to limb, so that the number can be multiplied. 16p is below 2²⁶⁰, so the last limb has room.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn carry(self) -> Element<A> {
        const { assert!(A <= 16) };
        Element(carry(self.0))
    }

    /// Subtracts p about as often as it goes in, and carries.
    ///
    /// The upper bits of the last limb are k = ⌊number / 2²⁵⁶⌋, or one off, since the lower limbs are not carried yet: they hold
    /// less than 2²¹⁸ in all, either way. number − k·p is then in 0..=p + 2²²⁹: below zero only k ≥ 1 could bring it, and
    /// k·(2²⁵⁶ − p) is more than 2²¹⁸; with k = −1, which a number below 2²¹⁸ can have, p is added instead.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn reduce(self) -> Element<2> {
        const { assert!(A <= 16) };
        let [mut l0, mut l1, l2, mut l3, mut l4] = self.0;
        let k = _mm512_srai_epi64::<48>(l4);
        // k·p = k·2²⁵⁶ − k·2²²⁴ + k·2¹⁹² + k·2⁹⁶ − k
        l0 = _mm512_add_epi64(l0, k);
        l1 = _mm512_sub_epi64(l1, _mm512_slli_epi64::<44>(k));
        l3 = _mm512_sub_epi64(l3, _mm512_slli_epi64::<36>(k));
        l4 = _mm512_sub_epi64(l4, _mm512_slli_epi64::<48>(k));
        l4 = _mm512_add_epi64(l4, _mm512_slli_epi64::<16>(k));
        Element(carry([l0, l1, l2, l3, l4]))
    }

    /// The number in 0..p.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    fn canonical(self) -> [__m512i; LIMBS] {
        // At most p + 2²²⁹, so that p goes in at most once more.
        let number = self.reduce().0;
        let mut less = number;
        for i in 0..LIMBS {
            less[i] = _mm512_sub_epi64(less[i], _mm512_set1_epi64(PRIME[i]));
        }
        let less = carry(less);
        let below = _mm512_cmplt_epi64_mask(less[LIMBS - 1], _mm512_setzero_si512());
        Element::<2>(less).replace(below, &Element(number)).0
    }
}

#[target_feature(enable = "avx512ifma")]
#[inline]
fn constant<const C: u32>(limbs: [i64; LIMBS]) -> Element<C> {
    let mut vectors = [_mm512_setzero_si512(); LIMBS];
    for i in 0..LIMBS {
        vectors[i] = _mm512_set1_epi64(limbs[i]);
    }
    Element(vectors)
}

/// Adds a·b to a sum of words: low and high halves of every pair of limbs.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn multiply(mut sum: [__m512i; 2 * LIMBS], a: &[__m512i; LIMBS], b: &[__m512i; LIMBS]) -> [__m512i; 2 * LIMBS] {
    for i in 0..LIMBS {
        for j in 0..LIMBS {
            sum[i + j] = _mm512_madd52lo_epu64(sum[i + j], a[i], b[j]);
            sum[i + j + 1] = _mm512_madd52hi_epu64(sum[i + j + 1], a[i], b[j]);
        }
    }
    sum
}

/// Divides by R modulo p, limb by limb from below.
///
/// p is −1 modulo 2⁵² (even modulo 2⁹⁶), so the multiple of p that cancels a limb q is q·p, and what it adds above is
/// q·(p + 1) = q·2⁹⁶ + q·2¹⁹² + q·(2²⁵⁶ − 2²²⁴): in limbs above q, that is q·2⁴⁴ in the next, q·2³⁶ in the third, and
/// q·(2⁴⁸ − 2¹⁶) in the fourth. At most 20 halves of products and 6 of these meet in one limb, so it stays below 2⁵⁷.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn reduce_product<const C: u32>(mut sum: [__m512i; 2 * LIMBS]) -> Sum<C> {
    const { assert!(C >= 2) };
    let (next, third, fourth) = (_mm512_set1_epi64(1 << 44), _mm512_set1_epi64(PRIME[3]), _mm512_set1_epi64(PRIME[4]));
    for i in 0..LIMBS {
        let q = sum[i];
        // What q has above its 52 bits is not cancelled but carried; the products below read 52 bits of it.
        sum[i + 1] = _mm512_add_epi64(sum[i + 1], _mm512_srli_epi64::<BITS>(q));
        sum[i + 1] = _mm512_madd52lo_epu64(sum[i + 1], q, next);
        sum[i + 2] = _mm512_madd52hi_epu64(sum[i + 2], q, next);
        sum[i + 3] = _mm512_madd52lo_epu64(sum[i + 3], q, third);
        sum[i + 4] = _mm512_madd52hi_epu64(sum[i + 4], q, third);
        sum[i + 4] = _mm512_madd52lo_epu64(sum[i + 4], q, fourth);
        sum[i + 5] = _mm512_madd52hi_epu64(sum[i + 5], q, fourth);
    }
    let [_, _, _, _, _, limbs @ ..] = sum;
    Sum(limbs)
}

/// Makes every limb but the last one of 0..2⁵².
#[target_feature(enable = "avx512ifma")]
#[inline]
fn carry(mut limbs: [__m512i; LIMBS]) -> [__m512i; LIMBS] {
    let mask = _mm512_set1_epi64(MASK);
    for i in 0..LIMBS - 1 {
        limbs[i + 1] = _mm512_add_epi64(limbs[i + 1], _mm512_srai_epi64::<BITS>(limbs[i]));
        limbs[i] = _mm512_and_si512(limbs[i], mask);
    }
    limbs
}

/// Four words of 64 bits become five limbs of 52.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn unpack<const C: u32>([w0, w1, w2, w3]: [__m512i; 4]) -> Element<C> {
    let mask = _mm512_set1_epi64(MASK);
    Element([
        _mm512_and_si512(w0, mask),
        _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<52>(w0), _mm512_slli_epi64::<12>(w1)), mask),
        _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<40>(w1), _mm512_slli_epi64::<24>(w2)), mask),
        _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<28>(w2), _mm512_slli_epi64::<36>(w3)), mask),
        _mm512_srli_epi64::<16>(w3),
    ])
}

/// Five limbs of a number below 2²⁵⁶ become four words.
#[target_feature(enable = "avx512ifma")]
#[inline]
fn pack([l0, l1, l2, l3, l4]: [__m512i; LIMBS]) -> [__m512i; 4] {
    [
        _mm512_or_si512(l0, _mm512_slli_epi64::<52>(l1)),
        _mm512_or_si512(_mm512_srli_epi64::<12>(l1), _mm512_slli_epi64::<40>(l2)),
        _mm512_or_si512(_mm512_srli_epi64::<24>(l2), _mm512_slli_epi64::<28>(l3)),
        _mm512_or_si512(_mm512_srli_epi64::<36>(l3), _mm512_slli_epi64::<16>(l4)),
    ]
}

/// Inverts many, eight by eight, for the price of one inversion and three products each. Where a lane is zero, that lane is
/// inverted as if it were one, and its mask says so: one zero must not spoil the lanes behind it.
#[target_feature(enable = "avx512ifma")]
pub fn invert_all(numbers: &[Element<4>]) -> Vec<(Element<2>, __mmask8)> {
    let mut inverses = Vec::with_capacity(numbers.len());
    let mut product = Element::<2>::one();
    for number in numbers {
        let zero = number.zero_lanes();
        // Until the way back, the place of the inverse has the product of all before it.
        inverses.push((product, zero));
        product = product.times(&number.replace(zero, &Element::one())).carry();
    }
    let mut inverse = product.invert();
    for (number, place) in numbers.iter().zip(&mut inverses).rev() {
        let (before, zero) = *place;
        place.0 = inverse.times(&before).carry();
        inverse = inverse.times(&number.replace(zero, &Element::one())).carry();
    }
    inverses
}
