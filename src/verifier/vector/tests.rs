//! Points, digits, tables and sums against the curve library, with whatever an attacker could choose.

use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::elliptic_curve::{Group as _, PrimeField as _};
use p256::{ProjectivePoint, Scalar};
use scal3::batch::Plain;
use scal3::point::Point;

use super::digits::Digits;
use super::lanes::{LANES, Row};
use super::point::{Affine, Jacobian, enter, normalize};
use super::solve::{Lane, solve};
use super::table::{self, GENERATOR_WINDOW, KNOWN_BASES, KNOWN_DIGITS, KNOWN_WINDOW, NEW_WINDOW};
use super::*;
use crate::curve;
use crate::questions::Equation;

pub use crate::maker::Random;
use crate::maker::{self, edge, public};

/// Runs a test that computes with vectors, where that can be.
pub fn with_vectors(test: unsafe fn()) {
    match missing() {
        // SAFETY: the processor has what the test is compiled for.
        None => unsafe { test() },
        Some(missing) => println!("skipped: without {missing}"),
    }
}

/// How many cases a differential test runs: `SOLELOG_VERIFIER_CASES`, or so many. Whether that was asked for.
pub fn long_run(otherwise: usize) -> (bool, usize) {
    match std::env::var("SOLELOG_VERIFIER_CASES") {
        Ok(cases) => (true, cases.parse().expect("SOLELOG_VERIFIER_CASES is a number")),
        Err(_) => (false, otherwise),
    }
}

/// x and y of a point; none of the identity.
fn coordinates(point: &ProjectivePoint) -> Solution {
    if bool::from(point.is_identity()) {
        return None;
    }
    let point = point.to_affine();
    Some((point.x().into(), point.y().into()))
}

fn g() -> ProjectivePoint {
    ProjectivePoint::GENERATOR
}

fn key(secret: Scalar) -> Point {
    public(&(g() * secret).to_affine())
}

#[target_feature(enable = "avx512ifma")]
fn affine(points: &[ProjectivePoint; LANES]) -> Affine {
    let mut rows = [Row::ZERO; LANES];
    for (row, point) in rows.iter_mut().zip(points) {
        *row = table::row_of(&public(&point.to_affine()));
    }
    enter(&rows)
}

/// Asserts what points there are in the lanes; none where Z is zero.
#[target_feature(enable = "avx512ifma")]
fn assert_points(what: &str, found: &Jacobian, expected: &[Option<ProjectivePoint>; LANES]) {
    let normal = normalize(std::slice::from_ref(found)).remove(0);
    let rows = normal.coordinates();
    for (lane, (row, expected)) in rows.iter().zip(expected).enumerate() {
        let missing = normal.missing >> lane & 1 == 1;
        assert_eq!(missing, expected.is_none(), "{what}: lane {lane} is missing");
        if let Some(expected) = expected {
            assert_eq!(Some(table::coordinates(row)), coordinates(expected), "{what}: lane {lane}");
            assert_eq!(normal.off_curve() >> lane & 1, 0, "{what}: lane {lane} is on the curve");
        }
    }
}

#[target_feature(enable = "avx512ifma")]
fn sums_of_points() {
    let mut random = Random(31);
    for _ in 0..60 {
        let [ps, qs]: [[ProjectivePoint; LANES]; 2] =
            std::array::from_fn(|_| std::array::from_fn(|_| g() * random.scalar()));
        // P as 2P + Q, so that Z is any.
        let mut sum = Jacobian::from_affine(&affine(&ps));
        sum.double();
        sum.add_where(!0, &affine(&qs));
        let ps: [ProjectivePoint; LANES] = std::array::from_fn(|i| ps[i].double() + qs[i]);
        assert_points("2P + Q", &sum, &ps.map(Some));

        // Lanes 0 and 4 add an equal point, 1 and 5 the opposite, the others any other.
        let others: [ProjectivePoint; LANES] = std::array::from_fn(|i| match i % 4 {
            0 => ps[i],
            1 => -ps[i],
            _ => qs[i],
        });
        let mask = random.next() as u8;
        sum.add_where(mask, &affine(&others));
        let mut expected: [Option<ProjectivePoint>; LANES] = std::array::from_fn(|i| match (mask >> i & 1, i % 4) {
            (0, _) => Some(ps[i]),
            (_, 0 | 1) => None,
            _ => Some(ps[i] + qs[i]),
        });
        assert_points("P + Q", &sum, &expected);
        // What has Z = 0 keeps it, whatever follows.
        for _ in 0..6 {
            if random.next() & 1 == 0 {
                sum.double();
                expected.iter_mut().flatten().for_each(|point| *point = point.double());
            } else {
                let others: [ProjectivePoint; LANES] = std::array::from_fn(|_| g() * random.scalar());
                sum.add_where(!0, &affine(&others));
                expected.iter_mut().zip(others).for_each(|(point, other)| *point = point.map(|point| point + other));
            }
            assert_points("and on", &sum, &expected);
        }
    }
}

#[test]
fn sums_hold_or_are_known_not_to() {
    with_vectors(sums_of_points);
}

#[target_feature(enable = "avx512ifma")]
fn curve_check() {
    let mut random = Random(32);
    let points: [ProjectivePoint; LANES] = std::array::from_fn(|_| g() * random.scalar());
    let mut rows = [Row::ZERO; LANES];
    for (lane, (row, point)) in rows.iter_mut().zip(&points).enumerate() {
        *row = table::row_of(&public(&point.to_affine()));
        row.0[lane] ^= u64::from(lane % 2 == 1);
    }
    let normal = normalize(&[Jacobian::from_affine(&enter(&rows))]).remove(0);
    assert_eq!(normal.off_curve(), 0b1010_1010);
}

#[test]
fn what_is_not_on_the_curve_is_seen() {
    with_vectors(curve_check);
}

/// The numbers at which digits and sums could go wrong.
fn edges() -> Vec<Scalar> {
    let mut edges = Vec::new();
    let half = Scalar::TWO_INV;
    for small in 0..40_u64 {
        let small = Scalar::from(small);
        // n/2 is −1/2 and 1/2 modulo n, and their neighbours.
        edges.extend([small, -small, half + small, half - small]);
    }
    let mut power = Scalar::ONE;
    for _ in 0..256 {
        edges.extend([power, power - Scalar::ONE, -power]);
        power = power.double();
    }
    let mut random = Random(33);
    edges.extend((0..300).map(|_| maker::reduce(&random.runs())));
    edges
}

#[target_feature(enable = "avx512ifma")]
fn digits_of<const W: usize>() {
    for numbers in edges().chunks_exact(LANES) {
        let numbers: &[Scalar; LANES] = numbers.try_into().expect("eight");
        let digits = Digits::<W>::new(numbers);
        let mut sums = [Scalar::ZERO; LANES];
        for i in (0..Digits::<W>::COUNT).rev() {
            let digit = digits.digit(i);
            for (lane, sum) in sums.iter_mut().enumerate() {
                (0..W).for_each(|_| *sum = sum.double());
                let some = digit.some >> lane & 1 == 1;
                assert!(digit.at.0[lane] < Digits::<W>::POINTS as u64 && (some || digit.at.0[lane] == 0));
                let size = if some { Scalar::from(digit.at.0[lane] + 1) } else { Scalar::ZERO };
                *sum += if digit.negative >> lane & 1 == 1 { -size } else { size };
            }
        }
        assert_eq!(&sums, numbers, "windows of {W}");
    }
}

#[test]
fn digits_add_up_to_their_number() {
    with_vectors(digits_of::<NEW_WINDOW>);
    with_vectors(digits_of::<KNOWN_WINDOW>);
    with_vectors(digits_of::<GENERATOR_WINDOW>);
    with_vectors(digits_of::<6>);
    with_vectors(digits_of::<8>);
}

/// The point of a row of a table.
#[target_feature(enable = "avx512ifma")]
fn point_at(row: &Row) -> Solution {
    let normal = normalize(&[Jacobian::from_affine(&Affine::read([row; LANES]))]).remove(0);
    let found = normal.coordinates().map(|row| table::coordinates(&row));
    assert!(found.iter().all(|point| *point == found[0]));
    Some(found[0])
}

#[target_feature(enable = "avx512ifma")]
fn tables_of_multiples() {
    let mut base = g();
    for table in table::generator() {
        let mut multiple = base;
        for (at, row) in table.iter().enumerate() {
            if at < 20 || at % 61 == 0 || at + 1 == table.len() {
                assert_eq!(point_at(row), coordinates(&multiple), "{at}");
            }
            multiple += base;
        }
        (0..GENERATOR_WINDOW).for_each(|_| base = base.double());
    }
    for count in [1_u64, 3, 8] {
        let secrets: Vec<Scalar> = (0..count).map(|at| Scalar::from(at + 5)).collect();
        let keys: Vec<Point> = secrets.iter().map(|secret| key(*secret)).collect();
        let tables = table::known_keys(&keys);
        assert_eq!(tables.len(), keys.len());
        for (table, secret) in tables.iter().zip(&secrets) {
            let mut bases = g() * secret;
            for base in 0..KNOWN_BASES {
                let mut multiple = bases;
                for row in table.base(base) {
                    assert_eq!(point_at(row), coordinates(&multiple));
                    multiple += bases;
                }
                (0..KNOWN_DIGITS * KNOWN_WINDOW).for_each(|_| bases = bases.double());
            }
        }
    }
}

#[test]
fn tables_have_the_multiples() {
    with_vectors(tables_of_multiples);
}

/// uG + vQ for a key whose secret the test knows.
#[derive(Clone, Copy, Debug)]
struct Case {
    u: Scalar,
    v: Scalar,
    secret: Scalar,
}

/// Solves cases with keys that are new and with keys that are known, and asserts that what is answered is right. How many
/// were not answered; `must` asserts that all are.
#[target_feature(enable = "avx512ifma")]
fn check(cases: &[Case], must: bool) -> usize {
    let keys: Vec<Point> = cases.iter().map(|case| key(case.secret)).collect();
    let mut unanswered = 0;
    for known in 0..3 {
        let mut lanes = Vec::new();
        for (at, (case, key)) in cases.iter().zip(&keys).enumerate() {
            // None has a table; all have; every third has.
            let table = match known {
                0 => None,
                2 if at % 3 != 0 => None,
                _ => table::known_keys(std::slice::from_ref(key)).pop().map(std::sync::Arc::new),
            };
            lanes.push(Lane { equation: Equation { u: case.u, v: case.v, key }, table });
        }
        let solutions = solve(&lanes);
        assert_eq!(solutions.len(), cases.len());
        for (case, solution) in cases.iter().zip(solutions) {
            let expected = coordinates(&(g() * (case.u + case.v * case.secret)));
            match solution {
                Some(found) => assert_eq!(Some(found), expected, "{case:?}"),
                None => {
                    assert!(!must || expected.is_none(), "{case:?} was not answered");
                    unanswered += 1;
                }
            }
        }
    }
    unanswered
}

#[target_feature(enable = "avx512ifma")]
fn random_sums() {
    let mut random = Random(34);
    for len in (0..20).chain([63, 64, 65, 300]) {
        let cases: Vec<Case> =
            (0..len).map(|_| Case { u: random.scalar(), v: random.scalar(), secret: random.scalar() }).collect();
        assert_eq!(check(&cases, true), 0, "{len}");
    }
    let cases: Vec<Case> = (0..2_000)
        .map(|_| Case {
            u: maker::reduce(&edge(&mut random)),
            v: maker::reduce(&edge(&mut random)),
            secret: random.scalar(),
        })
        .collect();
    // Only 0·G + 0·Q has no answer under a key that nobody chose.
    check(&cases, true);
}

#[test]
fn sums_are_those_of_the_curve_library() {
    with_vectors(random_sums);
}

#[target_feature(enable = "avx512ifma")]
fn edge_sums() {
    let mut random = Random(35);
    let edges = edges();
    // Every edge as u and as v beside any other number, then pairs of edges, under keys near the generator.
    let mut cases = Vec::new();
    for edge in &edges {
        let other = random.scalar();
        let secret = random.scalar();
        cases.push(Case { u: *edge, v: other, secret });
        cases.push(Case { u: other, v: *edge, secret });
    }
    assert_eq!(check(&cases, true), 0);
    let few: Vec<Scalar> = edges.iter().copied().filter(|edge| *edge != Scalar::ZERO).step_by(29).collect();
    let mut cases = Vec::new();
    for u in &few {
        for v in &few {
            let small = Scalar::from(1 + random.next() % 9);
            cases.push(Case { u: *u, v: *v, secret: if random.next() & 1 == 0 { small } else { -small } });
        }
    }
    check(&cases, false);
}

#[test]
fn edges_of_the_scalars_are_right_or_not_answered() {
    with_vectors(edge_sums);
}

/// For every place in the sum of multiples of G: keys for which the sum becomes the identity just there, or the next point
/// is equal to it.
#[target_feature(enable = "avx512ifma")]
fn chosen_keys() {
    let mut random = Random(36);
    let [u, v] = [random.scalar(), random.scalar()];
    let digits = Digits::<GENERATOR_WINDOW>::new(&[u; LANES]);
    let inverse = Option::<Scalar>::from(v.invert()).expect("not zero");
    let mut weight = Scalar::ONE;
    let mut before = Scalar::ZERO;
    let mut cases = Vec::new();
    for i in 0..Digits::<GENERATOR_WINDOW>::COUNT {
        let digit = digits.digit(i);
        let size = if digit.some & 1 == 1 { Scalar::from(digit.at.0[0] + 1) } else { Scalar::ZERO };
        let term = weight * if digit.negative & 1 == 1 { -size } else { size };
        assert_ne!(term, Scalar::ZERO, "the numbers of this test have no digit that is zero");
        // vQ + before + term = 0, and vQ + before = term.
        cases.push(Case { u, v, secret: -(before + term) * inverse });
        cases.push(Case { u, v, secret: (term - before) * inverse });
        before += term;
        (0..GENERATOR_WINDOW).for_each(|_| weight = weight.double());
    }
    assert_eq!(before, u);
    // Each is left unanswered, three times; with others between them, these are answered.
    assert_eq!(check(&cases, false), 3 * cases.len());
    let mixed: Vec<Case> = cases
        .iter()
        .flat_map(|case| [*case, Case { u: random.scalar(), v: random.scalar(), secret: random.scalar() }])
        .collect();
    assert_eq!(check(&mixed, false), 3 * cases.len());

    // Small multiples of G under keys that are small multiples of G: equal and opposite points everywhere.
    let mut cases = Vec::new();
    for u in 0..12_u64 {
        for v in 0..12_u64 {
            for secret in [1, 2, 3, 5] {
                let [u, v, secret] = [u, v, secret].map(Scalar::from);
                cases.extend([u, -u].into_iter().flat_map(|u| [v, -v].map(|v| Case { u, v, secret })));
            }
        }
    }
    let unanswered = check(&cases, false);
    assert!(unanswered > 3 * 80, "{unanswered}: the test has lost its sense");
}

#[test]
fn an_attacker_who_chooses_the_key_gets_no_wrong_answer() {
    with_vectors(chosen_keys);
}

#[test]
fn jobs_are_answered_by_lanes_and_not_by_the_portable_engine() {
    let Ok(vector) = Vector::new(16) else { return };
    let jobs = maker::Maker::new(37).jobs(40, 3);
    assert_eq!(vector.verify_batch(&jobs), Plain.verify_batch(&jobs));
    let questions = Questions::new(&jobs);
    let lanes: Vec<Lane<'_>> =
        (0..jobs.len()).map(|at| Lane { equation: questions.equation(at, Part::Binding), table: None }).collect();
    for (solution, job) in vector.solve(&lanes).iter().zip(&jobs) {
        let (x, _) = solution.expect("an answer");
        let r: [u8; 32] = curve::reduce(&x).to_repr().into();
        assert_eq!(r, job.binding_sig.as_bytes()[..32]);
    }
}
