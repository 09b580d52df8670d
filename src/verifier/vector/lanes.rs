//! Vectors of eight 64-bit lanes: how numbers get into them and out again.
//!
//! ```text
//! memory, lane by lane            registers, word by word
//! row 0   x0 x1 x2 x3 y0 y1 y2 y3        x0 of all eight rows
//! row 1   x0 x1 x2 x3 y0 y1 y2 y3   ◀─▶  x1 of all eight rows
//!  ⋮                                      ⋮
//! row 7   x0 x1 x2 x3 y0 y1 y2 y3        y3 of all eight rows
//! ```
//! [`transpose`] goes both ways. Rows are chosen by ordinary indexing, so no lane can read beside its table, and no gather
//! instruction is needed.

#![expect(unsafe_code, reason = "loads and stores of vectors")]

use std::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_shuffle_i64x2, _mm512_storeu_si512, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi64,
};

/// How many equations go side by side.
pub const LANES: usize = 8;

/// Eight words of one lane, or one word of eight lanes, in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Row(pub [u64; LANES]);

impl Row {
    /// Nothing but zeros.
    pub const ZERO: Row = Row([0; LANES]);

    /// Into a register.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn load(&self) -> __m512i {
        // SAFETY: the pointer is to the 64 bytes of this row, which are initialised; any alignment will do.
        unsafe { _mm512_loadu_si512(self.0.as_ptr().cast()) }
    }

    /// Out of a register.
    #[target_feature(enable = "avx512ifma")]
    #[inline]
    pub fn store(vector: __m512i) -> Row {
        let mut row = Row::ZERO;
        // SAFETY: the pointer is to the 64 bytes of this row, which is ours alone; any alignment will do.
        unsafe { _mm512_storeu_si512(row.0.as_mut_ptr().cast(), vector) };
        row
    }
}

/// The rows become columns.
#[target_feature(enable = "avx512ifma")]
#[inline]
pub fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    /// The blocks 0 and 2 of two words each, of both vectors.
    const EVEN: i32 = 0x88;
    /// The blocks 1 and 3.
    const ODD: i32 = 0xdd;

    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let mut columns = rows;
    let pairs = [
        [
            _mm512_unpacklo_epi64(r0, r1),
            _mm512_unpacklo_epi64(r2, r3),
            _mm512_unpacklo_epi64(r4, r5),
            _mm512_unpacklo_epi64(r6, r7),
        ],
        [
            _mm512_unpackhi_epi64(r0, r1),
            _mm512_unpackhi_epi64(r2, r3),
            _mm512_unpackhi_epi64(r4, r5),
            _mm512_unpackhi_epi64(r6, r7),
        ],
    ];
    for (half, [p01, p23, p45, p67]) in pairs.into_iter().enumerate() {
        let (low, high) = (_mm512_shuffle_i64x2::<EVEN>(p01, p23), _mm512_shuffle_i64x2::<EVEN>(p45, p67));
        columns[half] = _mm512_shuffle_i64x2::<EVEN>(low, high);
        columns[half + 4] = _mm512_shuffle_i64x2::<ODD>(low, high);
        let (low, high) = (_mm512_shuffle_i64x2::<ODD>(p01, p23), _mm512_shuffle_i64x2::<ODD>(p45, p67));
        columns[half + 2] = _mm512_shuffle_i64x2::<EVEN>(low, high);
        columns[half + 6] = _mm512_shuffle_i64x2::<ODD>(low, high);
    }
    columns
}
