//! The field against a big-integer library, at the edges of every bound and between them.
//!
//! `SOLELOG_VERIFIER_CASES=5000000 cargo test --release -p solelog-verifier --lib field` is the long run: 208 operations for each case.

use std::arch::x86_64::__m512i;

use p256::elliptic_curve::bigint::modular::{FixedMontyForm, FixedMontyParams};
use p256::elliptic_curve::bigint::{Odd, U256, U320};

use super::super::lanes::{LANES, Row, transpose};
use super::super::tests::{Random, long_run, with_vectors};
use super::*;

type Reference = FixedMontyForm<{ U256::LIMBS }>;

const P: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";

/// What knows the right answers.
struct Judge {
    params: FixedMontyParams<{ U256::LIMBS }>,
    /// 2⁵²
    limb: Reference,
    /// 1/R
    unkept: Reference,
    done: u64,
}

impl Judge {
    fn new() -> Judge {
        let params = FixedMontyParams::new_vartime(Odd::new(U256::from_be_hex(P)).expect("odd"));
        let limb = Reference::new(&U256::from_u64(1 << 52), &params);
        let r = limb.square().square() * limb;
        Judge { params, limb, unkept: r.invert_vartime().expect("p is prime"), done: 0 }
    }

    fn small(&self, number: u64) -> Reference {
        Reference::new(&U256::from_u64(number), &self.params)
    }

    /// The number that signed limbs are, modulo p.
    fn value(&self, limbs: [i64; LIMBS]) -> Reference {
        limbs.iter().rev().fold(self.small(0), |value, limb| {
            let size = self.small(limb.unsigned_abs());
            value * self.limb + if *limb < 0 { -size } else { size }
        })
    }

    fn values(&self, limbs: &[[i64; LIMBS]; LANES]) -> [Reference; LANES] {
        limbs.map(|limbs| self.value(limbs))
    }

    /// Asserts the values of a sum.
    #[target_feature(enable = "avx512ifma")]
    fn sum<const C: u32>(&mut self, what: &str, found: Sum<C>, expected: [Reference; LANES]) {
        let limbs = read(&found.0);
        for limb in limbs.iter().flatten() {
            assert!(limb.unsigned_abs() < u64::from(C) << 57, "{what}: a limb of {limb:x}");
        }
        assert_eq!(self.values(&limbs), expected, "{what}");
        limbs.iter().for_each(|limbs| assert!(within(*limbs, C), "{what}: {limbs:x?} is above {C} p"));
        self.done += LANES as u64;
    }

    /// Asserts the values of an element, and that it can be multiplied.
    #[target_feature(enable = "avx512ifma")]
    fn element<const C: u32>(&mut self, what: &str, found: Element<C>, expected: [Reference; LANES]) {
        let limbs = read(&found.0);
        assert!(limbs.iter().flatten().all(|limb| (0..1 << 52).contains(limb)), "{what}: {limbs:x?}");
        self.sum(what, found.sum(), expected);
    }
}

/// Whether a number is in 0..=C·p.
fn within(limbs: [i64; LIMBS], c: u32) -> bool {
    let mut carried = [0; LIMBS];
    let mut carry = 0;
    for (to, limb) in carried.iter_mut().zip(limbs) {
        let sum = i128::from(limb) + carry;
        (*to, carry) = ((sum & i128::from(MASK)) as u64, sum >> BITS);
    }
    carry == 0 && integer(carried) <= multiple(c)
}

fn integer(limbs: [u64; LIMBS]) -> U320 {
    limbs.iter().rev().fold(U320::ZERO, |number, limb| number.shl_vartime(BITS).wrapping_add(&U320::from_u64(*limb)))
}

fn multiple(c: u32) -> U320 {
    let p: U320 = U256::from_be_hex(P).resize();
    p.wrapping_mul(&U320::from_u32(c))
}

#[target_feature(enable = "avx512ifma")]
fn read(limbs: &[__m512i; LIMBS]) -> [[i64; LIMBS]; LANES] {
    let mut lanes = [[0; LIMBS]; LANES];
    for (i, limb) in limbs.iter().enumerate() {
        for (lane, value) in lanes.iter_mut().zip(Row::store(*limb).0) {
            lane[i] = value as i64;
        }
    }
    lanes
}

/// Eight numbers of 0..=A·p: the ends, multiples of p and their neighbours, runs of equal bits, and any.
#[target_feature(enable = "avx512ifma")]
fn element<const A: u32>(random: &mut Random) -> Element<A> {
    let mut rows = [[0; LANES]; LIMBS];
    for lane in 0..LANES {
        let number = number(random, A);
        for (i, row) in rows.iter_mut().enumerate() {
            row[lane] = number.shr_vartime(BITS * i as u32).as_words()[0] & MASK as u64;
        }
    }
    let mut limbs = [Row::ZERO.load(); LIMBS];
    for (limb, row) in limbs.iter_mut().zip(rows) {
        *limb = Row(row).load();
    }
    Element(limbs)
}

fn number(random: &mut Random, a: u32) -> U320 {
    let near = multiple(random.below(a as usize + 1) as u32);
    let little = U320::from_u64(random.next() % 4);
    let any = |bytes: [u8; 32]| -> U320 {
        let number: U320 = U256::from_be_slice(&bytes).resize();
        number.wrapping_add(&near)
    };
    let number = match random.below(8) {
        0 | 1 => near.wrapping_add(&little),
        2 => near.wrapping_sub(&little),
        3 => U320::ONE.shl_vartime(random.below(260) as u32),
        4 => U320::ONE.shl_vartime(random.below(260) as u32).wrapping_sub(&little),
        5 => any(random.runs()),
        _ => any(random.bytes()),
    };
    // Differences below zero are near 2³²⁰.
    if number <= multiple(a) { number } else { multiple(a).wrapping_sub(&little) }
}

#[target_feature(enable = "avx512ifma")]
fn all_operations() {
    let (long, cases) = long_run(50_000);
    let mut judge = Judge::new();
    let mut random = Random(21);
    for case in 0..cases {
        one_case(&mut judge, &mut random);
        if long && case % 100_000 == 0 {
            println!("{} field operations so far", judge.done);
        }
    }
    println!("{} field operations", judge.done);
    assert!(judge.done > 200 * cases as u64);
}

#[target_feature(enable = "avx512ifma")]
fn one_case(judge: &mut Judge, random: &mut Random) {
    let (a, b, c, d) = (element::<4>(random), element::<4>(random), element::<2>(random), element::<2>(random));
    let wide = element::<16>(random);
    let [va, vb, vc, vd, vw] =
        [read(&a.0), read(&b.0), read(&c.0), read(&d.0), read(&wide.0)].map(|limbs| judge.values(&limbs));
    let each = |f: &dyn Fn(usize) -> Reference| -> [Reference; LANES] { std::array::from_fn(f) };
    let r = judge.unkept;

    judge.sum("a·b", a.times::<4, 2>(&b), each(&|i| va[i] * vb[i] * r));
    judge.sum("w·1", wide.times::<1, 2>(&Element::one()), vw);
    judge.sum("a²", a.square::<2>(), each(&|i| va[i].square() * r));
    let widest = wide.square::<17>();
    assert_eq!(judge.values(&read(&widest.0)), each(&|i| vw[i].square() * r), "w²");
    judge.sum("a·b + c·d", a.times_plus::<4, 2, 2, 3>(&b, &c, &d), each(&|i| (va[i] * vb[i] + vc[i] * vd[i]) * r));
    judge.sum("w·c + a·b", wide.times_plus::<2, 4, 4, 4>(&c, &a, &b), each(&|i| (vw[i] * vc[i] + va[i] * vb[i]) * r));

    judge.sum("a + b", a.sum().plus::<4, 8>(b.sum()), each(&|i| va[i] + vb[i]));
    judge.sum("a − b", a.sum().minus::<4, 8>(b.sum()), each(&|i| va[i] - vb[i]));
    judge.sum("−w", wide.sum().negated(), each(&|i| -vw[i]));
    judge.sum("2a", a.sum().double::<8>(), each(&|i| va[i] + va[i]));
    judge.sum("3a", a.sum().triple::<12>(), each(&|i| va[i] + va[i] + va[i]));
    judge.sum("4a", a.sum().quadruple::<16>(), each(&|i| (va[i] + va[i]).double()));

    // Sums as the formulas of points build them, from products that are not carried.
    let product = a.times::<4, 2>(&b);
    let vp = each(&|i| va[i] * vb[i] * r);
    let squared = each(&|i| va[i].square() * r);
    let mixed = a.square::<2>().plus::<2, 4>(c.sum()).minus::<4, 8>(product.double());
    let vm = each(&|i| squared[i] + vc[i] - vp[i].double());
    judge.sum("a² + c − 2ab", mixed, vm);
    judge.element("carried", mixed.carry(), vm);
    judge.element("reduced", mixed.reduce(), vm);
    judge.element("w reduced", wide.sum().reduce(), vw);
    judge.element("−4ab", product.quadruple::<8>().negated().carry(), each(&|i| -vp[i].double().double()));
    judge.element("a − b reduced", a.sum().minus::<4, 8>(b.sum()).reduce(), each(&|i| va[i] - vb[i]));

    let mask = random.next() as u8;
    let chosen = |i: usize, one: Reference, zero: Reference| if mask >> i & 1 == 1 { one } else { zero };
    judge.element("replace", a.replace(mask, &b), each(&|i| chosen(i, vb[i], va[i])));
    judge.element("negate", a.negate_where(mask), each(&|i| chosen(i, -va[i], va[i])));

    let zero = wide.zero_lanes();
    (0..LANES).for_each(|i| assert_eq!(zero >> i & 1 == 1, vw[i] == judge.small(0), "zero in lane {i}"));
    judge.done += LANES as u64;
    canonical(judge, &wide, vw);
    words(judge, random);
}

/// Numbers in 0..p, written and read back.
#[target_feature(enable = "avx512ifma")]
fn canonical(judge: &mut Judge, wide: &Element<16>, values: [Reference; LANES]) {
    judge.element("canonical", Element::<1>(wide.sum().canonical()), values);
    judge.element("packed", Element::<1>::unpack(wide.pack()), values);
    let left = numbers(wide.leave());
    let expected = values.map(|value| (value * judge.unkept).retrieve());
    assert_eq!(left, expected, "left");
    assert_eq!(numbers(wide.pack()), values.map(|value| value.retrieve()), "packed");
    judge.done += 2 * LANES as u64;
}

/// Any 32 bytes enter, below p or not.
#[target_feature(enable = "avx512ifma")]
fn words(judge: &mut Judge, random: &mut Random) {
    let mut rows = [Row::ZERO.load(); LANES];
    let mut expected = [judge.small(0); LANES];
    for (row, expected) in rows.iter_mut().zip(&mut expected) {
        let number = U256::from_be_slice(&random.runs());
        let [w0, w1, w2, w3] = number.to_words();
        *row = Row([w0, w1, w2, w3, 0, 0, 0, 0]).load();
        *expected = Reference::new(&number, &judge.params);
    }
    let [w0, w1, w2, w3, ..] = transpose(rows);
    let entered = Element::<2>::enter([w0, w1, w2, w3]);
    judge.element("entered", entered, expected.map(|value| value * judge.unkept.invert_vartime().expect("not zero")));
    assert_eq!(numbers(entered.leave()), expected.map(|value| value.retrieve()), "entered and left");
    judge.done += LANES as u64;
}

#[target_feature(enable = "avx512ifma")]
fn numbers([w0, w1, w2, w3]: [__m512i; 4]) -> [U256; LANES] {
    let zero = Row::ZERO.load();
    let rows = transpose([w0, w1, w2, w3, zero, zero, zero, zero]);
    let mut numbers = [U256::ZERO; LANES];
    for (number, row) in numbers.iter_mut().zip(rows) {
        let [w0, w1, w2, w3, ..] = Row::store(row).0;
        *number = U256::from_words([w0, w1, w2, w3]);
    }
    numbers
}

#[test]
fn every_operation_is_that_of_a_big_integer_library() {
    with_vectors(all_operations);
}

#[target_feature(enable = "avx512ifma")]
fn inverses() {
    let mut judge = Judge::new();
    let mut random = Random(22);
    for len in 0..20 {
        let mut all: Vec<Element<4>> = Vec::new();
        for _ in 0..len {
            // Every third number or so is zero modulo p.
            all.push(element(&mut random));
        }
        let found = invert_all(&all);
        assert_eq!(found.len(), all.len());
        for (number, (inverse, zero)) in all.iter().zip(found) {
            let values = judge.values(&read(&number.0));
            for (i, value) in values.iter().enumerate() {
                assert_eq!(zero >> i & 1 == 1, *value == judge.small(0));
            }
            // a·R times b·R is R, as it is kept: a·R·b·R/R = R.
            let r = judge.unkept.invert_vartime().expect("not zero");
            let expected = values.map(|value| value.invert_vartime().unwrap_or(judge.small(1)) * r.square());
            let expected: [Reference; LANES] =
                std::array::from_fn(|i| if zero >> i & 1 == 1 { r } else { expected[i] });
            judge.element("inverse", inverse, expected);
        }
    }
}

#[test]
fn one_zero_spoils_no_other_inverse() {
    with_vectors(inverses);
}

#[target_feature(enable = "avx512ifma")]
fn constants() {
    let mut judge = Judge::new();
    let r = judge.unkept.invert_vartime().expect("not zero");
    assert_eq!(integer(PRIME.map(|limb| limb as u64)), multiple(1));
    judge.element("one", Element::<1>::one(), [r; LANES]);
    judge.element("R²", constant::<1>(R_SQUARED), [r.square(); LANES]);
    let b = U256::from_be_hex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
    let b = Reference::new(&b, &judge.params);
    judge.element("b", Element::<1>::b(), [b * r; LANES]);
    assert_eq!(numbers(Element::<2>::one().invert().leave()), [U256::ONE; LANES]);
    assert_eq!(constant::<2>([0; LIMBS]).invert().zero_lanes(), 0xff);
}

#[test]
fn constants_are_what_their_names_say() {
    with_vectors(constants);
}
