//! Jobs with anything in them, and what the engines that verify signatures say of them.

use std::sync::LazyLock;

use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::elliptic_curve::{Group as _, bigint::U256, ops::Reduce as _};
use p256::{ProjectivePoint, Scalar};
use scal3::batch::{Job, Plain, VerifyBatch};
use scal3::ecdsa::Signature;
use scal3::point::{self, Point};
use scal3::verify::Submitted;
use verifier::{Choice, Engine, Portable};

use super::{ONE, ORIGIN, TWO};

/// More than two groups of eight lanes.
const JOBS_MAX: usize = 6;

/// The fastest engine that the machine has. It keeps tables of keys from one run to the next, as a server does.
static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(Choice::Auto).expect("an engine"));

static GOOD: LazyLock<[Job; 2]> = LazyLock::new(|| {
    [(&ONE.opening, &ONE.credential), (&TWO.opening, &TWO.credential)].map(|(opening, credential)| {
        let bound = Submitted::parse(opening).expect("good").bind(credential, ORIGIN).expect("good");
        assert_eq!(bound.job().verify(), Ok(()));
        bound.job().clone()
    })
});

/// `kind[1] length[1] piece[length]`, as often as there are bytes: a change to the last job, or with the top bit of the kind a
/// change to the next one. Whatever comes out, the engines agree with the plain one.
pub(super) fn verdicts(mut data: &[u8]) {
    let mut jobs = vec![GOOD[0].clone()];
    while let Some(([kind, len], rest)) = data.split_first_chunk() {
        if kind & 0x80 != 0 {
            jobs.push(GOOD[usize::from(kind >> 6 & 1)].clone());
        }
        if jobs.len() > JOBS_MAX {
            break;
        }
        let (piece, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        if let Some(job) = jobs.last_mut() {
            change(job, kind & 0x3f, piece);
        }
        data = rest;
    }
    jobs.truncate(JOBS_MAX);
    let expected = Plain.verify_batch(&jobs);
    assert_eq!(Portable.verify_batch(&jobs), expected, "the portable engine: {jobs:?}");
    for _ in 0..2 {
        assert_eq!(ENGINE.verify_batch(&jobs), expected, "the {} engine: {jobs:?}", ENGINE.name());
    }
}

/// Puts a piece into a job. What does not read as what belongs there changes nothing.
fn change(job: &mut Job, kind: u8, piece: &[u8]) {
    match kind % 13 {
        0 => overlay(job.binding_key.to_bytes(), piece, |bytes| Point::from_bytes(&bytes).ok(), &mut job.binding_key),
        1 => overlay(job.device_key.to_bytes(), piece, |bytes| Point::from_bytes(&bytes).ok(), &mut job.device_key),
        2 => overlay(job.joint_key.to_bytes(), piece, |bytes| Point::from_bytes(&bytes).ok(), &mut job.joint_key),
        3 => overlay(job.c, piece, Some, &mut job.c),
        4 => overlay(job.z.to_bytes(), piece, |bytes| point::Scalar::from_bytes(&bytes).ok(), &mut job.z),
        5 => overlay(job.binding_sig.to_bytes(), piece, |sig| Signature::from_bytes(&sig).ok(), &mut job.binding_sig),
        6 => overlay(job.device_sig.to_bytes(), piece, |sig| Signature::from_bytes(&sig).ok(), &mut job.device_sig),
        7 => job.message = piece.to_vec(),
        8 => job.device_message = piece.to_vec(),
        9 => job.binding_key = near_generator(piece).1,
        10 => job.device_key = near_generator(piece).1,
        11 => job.joint_key = near_generator(piece).1,
        // zG − cQ is a small multiple of G, or nothing.
        _ => {
            let (secret, key) = near_generator(piece);
            let c = Scalar::reduce(&U256::from_be_slice(&job.c));
            let z = c * secret + Scalar::from(u64::from(piece.get(1).copied().unwrap_or(0) % 8));
            job.joint_key = key;
            if let Ok(z) = point::Scalar::from_bytes(&z.to_bytes().into()) {
                job.z = z;
            }
        }
    }
}

/// The bytes with a piece over their beginning.
fn overlay<T, const N: usize>(mut bytes: [u8; N], piece: &[u8], read: impl Fn([u8; N]) -> Option<T>, into: &mut T) {
    bytes.iter_mut().zip(piece).for_each(|(to, from)| *to = *from);
    if let Some(value) = read(bytes) {
        *into = value;
    }
}

/// A small multiple of G or its opposite, and how often it is G.
fn near_generator(piece: &[u8]) -> (Scalar, Point) {
    let byte = piece.first().copied().unwrap_or(0);
    let times = Scalar::from(u64::from(byte >> 1) + 1);
    let times = if byte & 1 == 0 { times } else { -times };
    let point = (ProjectivePoint::generator() * times).to_affine();
    let key = Point::from_sec1_any(point.to_sec1_point(false).as_bytes()).expect("a point of the curve");
    (times, key)
}
