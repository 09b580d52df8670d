//! Numbers modulo n as signed digits, eight numbers side by side.
//!
//! ```text
//! k ─▶ ±k below 2²⁵⁵ ─▶ + 2^(W−1) in every window but the last ─▶ window − 2^(W−1) = digit
//!
//! k = ± Σ digit(i)·2^(Wi)      −2^(W−1) ≤ digit ≤ 2^(W−1)
//! ```
//! A digit and its opposite share one point of a table, so tables are half as long as with unsigned windows. The offset is
//! added once, to the whole number; after that every digit can be read alone.

use std::arch::x86_64::{
    __m512i, __mmask8, _mm512_abs_epi64, _mm512_and_si512, _mm512_cmplt_epi64_mask, _mm512_max_epi64, _mm512_or_si512,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_sllv_epi64, _mm512_srlv_epi64, _mm512_sub_epi64,
    _mm512_test_epi64_mask,
};

use p256::Scalar;
use p256::elliptic_curve::bigint::U256;
use p256::elliptic_curve::scalar::IsHigh as _;

use super::lanes::{LANES, Row, transpose};

/// Eight numbers in windows of `W` bits.
pub struct Digits<const W: usize> {
    /// The words of the numbers with the offset, lowest first, and a zero.
    words: [__m512i; 5],
    /// The lanes whose number was above n/2 and is there as its opposite.
    turned: __mmask8,
}

/// One digit of each of the eight numbers.
pub struct Digit {
    /// The lanes in which it is not zero.
    pub some: __mmask8,
    /// The lanes in which the point of the table has to be negated.
    pub negative: __mmask8,
    /// Where the point stands in a table that begins with that of digit one. Where the digit is zero, 0.
    pub at: Row,
}

impl<const W: usize> Digits<W> {
    /// How many digits a number has.
    pub const COUNT: usize = 256_usize.div_ceil(W);
    /// How many points a table needs: one for every digit from one on.
    pub const POINTS: usize = 1 << (W - 1);

    /// 2^(W−1) in every window that ends below bit 255. The window above has what is left of the number, which is below
    /// 2^(W−1), and what is carried into it.
    const OFFSET: U256 = offset(W);

    /// Cuts numbers into digits.
    #[target_feature(enable = "avx512ifma")]
    pub fn new(numbers: &[Scalar; LANES]) -> Digits<W> {
        let mut rows = [_mm512_setzero_si512(); LANES];
        let mut turned = 0;
        for (lane, (row, number)) in rows.iter_mut().zip(numbers).enumerate() {
            let high = bool::from(number.is_high());
            turned |= u8::from(high) << lane;
            let number = if high { -number } else { *number };
            let words = U256::from(&number).wrapping_add(&Self::OFFSET).to_words();
            *row = row_of(words).load();
        }
        let [w0, w1, w2, w3, ..] = transpose(rows);
        Digits { words: [w0, w1, w2, w3, _mm512_setzero_si512()], turned }
    }

    /// The digit of weight 2^(Wi).
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn digit(&self, i: usize) -> Digit {
        let bit = i * W;
        let (word, shift) = (bit / 64, (bit % 64) as i64);
        // Shifts by 64 give zero.
        let low = _mm512_srlv_epi64(self.words[word], _mm512_set1_epi64(shift));
        let high = _mm512_sllv_epi64(self.words[word + 1], _mm512_set1_epi64(64 - shift));
        let window = _mm512_and_si512(_mm512_or_si512(low, high), _mm512_set1_epi64((1 << W) - 1));
        let half = if is_offset(W, i) { 1 << (W - 1) } else { 0 };
        let digit = _mm512_sub_epi64(window, _mm512_set1_epi64(half));
        let zero = _mm512_setzero_si512();
        let at = _mm512_max_epi64(_mm512_sub_epi64(_mm512_abs_epi64(digit), _mm512_set1_epi64(1)), zero);
        Digit {
            some: _mm512_test_epi64_mask(digit, digit),
            negative: _mm512_cmplt_epi64_mask(digit, zero) ^ self.turned,
            at: Row::store(at),
        }
    }
}

/// Whether window i of W bits has the offset.
const fn is_offset(w: usize, i: usize) -> bool {
    (i + 1) * w <= 255
}

const fn offset(w: usize) -> U256 {
    let mut words = [0_u64; 4];
    let mut i = 0;
    while is_offset(w, i) {
        let bit = i * w + w - 1;
        words[bit / 64] |= 1 << (bit % 64);
        i += 1;
    }
    U256::from_words(words)
}

/// Words of one number, to be transposed.
fn row_of([w0, w1, w2, w3]: [u64; 4]) -> Row {
    Row([w0, w1, w2, w3, 0, 0, 0, 0])
}
