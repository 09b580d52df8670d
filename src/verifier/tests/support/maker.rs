//! Makes jobs whose signatures hold, quickly enough for millions of them, and spoils them.
//!
//! ```text
//! walk    k, kG ─▶ k + d, kG + dG ─▶ …      a fresh secret number with its point costs one addition
//! ```
//! Nonces that follow one another give every key away: this is for tests and benches, and nothing else.

use p256::elliptic_curve::bigint::U256;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::sec1::FromSec1Point;
use p256::elliptic_curve::{BatchNormalize, Field, Group, PrimeField};
use p256::{AffinePoint, ProjectivePoint, Scalar};
use scal3::batch::Job;
use scal3::ecdsa::Signature;
use scal3::point::{self, Point};
use scal3::schnorr::Challenge;
use sha2::{Digest, Sha256};

/// Random numbers that repeat themselves: SplitMix64.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }

    pub fn scalar(&mut self) -> Scalar {
        reduce(&self.bytes())
    }

    /// A number of 256 bits in which long runs of zeros and ones are common, and sometimes a single bit.
    pub fn runs(&mut self) -> [u8; 32] {
        let mut bytes = [0_u8; 32];
        let (mut at, mut bit) = (0, self.next() & 1);
        while at < 256 {
            let len = if self.below(4) == 0 { 1 } else { self.below(70) };
            for i in at..(at + len).min(256) {
                bytes[i / 8] |= (bit as u8) << (i % 8);
            }
            at += len;
            bit ^= 1;
        }
        bytes
    }
}

pub fn reduce(bytes: &[u8; 32]) -> Scalar {
    Scalar::reduce(&U256::from_be_slice(bytes))
}

/// A secret number and its point.
#[derive(Clone, Copy)]
pub struct Pair {
    pub secret: Scalar,
    pub point: AffinePoint,
}

impl Pair {
    pub fn new(secret: Scalar) -> Pair {
        Pair { secret, point: (ProjectivePoint::GENERATOR * secret).to_affine() }
    }

    pub fn public(&self) -> Point {
        public(&self.point)
    }
}

/// The point as the jobs have it. None of ours is the identity.
pub fn public(point: &AffinePoint) -> Point {
    let mut bytes = [4; 65];
    bytes[1..33].copy_from_slice(&point.x());
    bytes[33..].copy_from_slice(&point.y());
    Point::from_sec1_any(&bytes).expect("a point of the curve")
}

const STEPS: usize = 64;

/// Pairs, one after another.
struct Walk {
    next: (Scalar, ProjectivePoint),
    step: (Scalar, ProjectivePoint),
    ready: Vec<Pair>,
}

impl Walk {
    fn new(random: &mut Random) -> Walk {
        let [next, step] = [random.scalar(), random.scalar()].map(|k| (k, ProjectivePoint::GENERATOR * k));
        Walk { next, step, ready: Vec::new() }
    }

    fn pair(&mut self) -> Pair {
        if self.ready.is_empty() {
            let mut secrets = [Scalar::ZERO; STEPS];
            let mut points = [ProjectivePoint::IDENTITY; STEPS];
            for (secret, point) in secrets.iter_mut().zip(&mut points) {
                (*secret, *point) = self.next;
                self.next = (self.next.0 + self.step.0, self.next.1 + self.step.1);
            }
            let points: [AffinePoint; STEPS] = ProjectivePoint::batch_normalize(&points);
            self.ready = secrets.into_iter().zip(points).map(|(secret, point)| Pair { secret, point }).collect();
        }
        self.ready.pop().expect("steps were made")
    }
}

/// Makes jobs.
pub struct Maker {
    pub random: Random,
    walk: Walk,
}

impl Maker {
    pub fn new(seed: u64) -> Maker {
        let mut random = Random(seed);
        let walk = Walk::new(&mut random);
        Maker { random, walk }
    }

    /// A fresh key, or a fresh nonce.
    pub fn pair(&mut self) -> Pair {
        self.walk.pair()
    }

    /// An ECDSA signature; s is high as often as it comes.
    pub fn ecdsa(&mut self, key: &Pair, message: &[u8]) -> Signature {
        let nonce = self.pair();
        ecdsa_under(key, &nonce, message)
    }

    /// A job whose signatures hold, under these keys of the device and of both factors.
    pub fn job_of(&mut self, device: &Pair, joint: &Pair) -> Job {
        let binding = self.pair();
        let nonce = self.pair();
        let challenge = if self.random.next() & 1 == 0 { Challenge::EcSdsa } else { Challenge::Rfc9591 };
        let message: [u8; 80] = self.random.bytes();
        let joint_key = joint.public();
        let c = challenge.compute(&nonce.public(), &joint_key, &[&message]);
        let z = nonce.secret + reduce(&c) * joint.secret;
        let device_message = [c, self.random.bytes()].concat();
        let device_sig = self.ecdsa(device, &device_message);
        let binding_sig = self.ecdsa(&binding, device_sig.as_bytes());
        Job {
            binding_key: binding.public(),
            device_key: device.public(),
            joint_key,
            challenge,
            message: message.to_vec(),
            c,
            z: number(&z),
            device_message,
            device_sig,
            binding_sig,
        }
    }

    /// A job whose signatures hold, under keys of its own.
    pub fn job(&mut self) -> Job {
        let (device, joint) = (self.pair(), self.pair());
        self.job_of(&device, &joint)
    }

    /// Jobs of so many people in turn.
    pub fn jobs(&mut self, count: usize, people: usize) -> Vec<Job> {
        let people: Vec<(Pair, Pair)> = (0..people).map(|_| (self.pair(), self.pair())).collect();
        (0..count).map(|at| people[at % people.len()]).map(|(device, joint)| self.job_of(&device, &joint)).collect()
    }

    /// Changes something about a job, mostly so that it no longer holds.
    pub fn spoil(&mut self, job: &mut Job) {
        let other = self.pair();
        let random = &mut self.random;
        match random.below(20) {
            0 => job.binding_key = other.public(),
            1 => job.device_key = other.public(),
            2 => job.joint_key = other.public(),
            3 => job.binding_key = negated(&job.binding_key),
            4 => job.device_key = negated(&job.device_key),
            5 => job.joint_key = negated(&job.joint_key),
            6 => job.c = flipped(&job.c, random),
            7 => job.z = number(&reduce(&flipped(&job.z.to_bytes(), random))),
            8 => job.device_message[random.below(64)] ^= 1 << random.below(8),
            9 => job.message[random.below(80)] ^= 1 << random.below(8),
            10 => job.binding_sig = signature(&flipped(job.binding_sig.as_bytes(), random)),
            11 => job.device_sig = signature(&flipped(job.device_sig.as_bytes(), random)),
            12 => job.binding_sig = other_s(&job.binding_sig),
            13 => job.device_sig = other_s(&job.device_sig),
            14 => job.binding_key = generator(random),
            15 => job.device_key = generator(random),
            16 => job.joint_key = generator(random),
            17 => (job.c, job.z) = (edge(random), number(&reduce(&edge(random)))),
            18 => job.device_sig = signature(&[edge(random), edge(random)].concat().try_into().expect("64 bytes")),
            _ => std::mem::swap(&mut job.binding_key, &mut job.device_key),
        }
    }
}

/// The ECDSA signature with this nonce.
pub fn ecdsa_under(key: &Pair, nonce: &Pair, message: &[u8]) -> Signature {
    let digest: [u8; 32] = Sha256::digest(message).into();
    let r = reduce(&nonce.point.x().into());
    let inverse = Option::from(nonce.secret.invert()).unwrap_or(Scalar::ONE);
    let s = inverse * (reduce(&digest) + r * key.secret);
    signature(&[<[u8; 32]>::from(r.to_repr()), s.to_repr().into()].concat().try_into().expect("64 bytes"))
}

/// The number as the jobs have it.
pub fn number(scalar: &Scalar) -> point::Scalar {
    point::Scalar::from_bytes(&scalar.to_repr().into()).expect("below the order")
}

/// A signature of these numbers, brought into range.
pub fn signature(bytes: &[u8; 64]) -> Signature {
    let mut fitted = *bytes;
    for half in fitted.chunks_exact_mut(32) {
        let scalar = reduce(&(&*half).try_into().expect("32 bytes"));
        let scalar = if bool::from(scalar.is_zero()) { Scalar::ONE } else { scalar };
        half.copy_from_slice(&scalar.to_repr());
    }
    Signature::from_bytes(&fitted).expect("in range")
}

/// (r, n − s), which verifies as (r, s) does.
pub fn other_s(of: &Signature) -> Signature {
    let (r, s) = of.as_bytes().split_at(32);
    let s = -reduce(&s.try_into().expect("32 bytes"));
    signature(&[r, &s.to_repr()].concat().try_into().expect("64 bytes"))
}

/// The same x, the other y.
pub fn negated(point: &Point) -> Point {
    let mut bytes = point.to_bytes();
    bytes[0] ^= 1;
    Point::from_bytes(&bytes).expect("the other y is on the curve too")
}

/// A small multiple of G, or its opposite.
fn generator(random: &mut Random) -> Point {
    let times = Scalar::from(1 + random.below(9) as u64);
    public(&(ProjectivePoint::generator() * if random.next() & 1 == 0 { times } else { -times }).to_affine())
}

/// Numbers at the edges of the arithmetic, and some that are long runs of equal bits.
pub fn edge(random: &mut Random) -> [u8; 32] {
    let small = Scalar::from(random.next() % 20);
    match random.below(4) {
        0 => small.to_repr().into(),
        1 => (-small).to_repr().into(),
        2 => (Scalar::TWO_INV * small).to_repr().into(),
        _ => random.runs(),
    }
}

fn flipped<const N: usize>(bytes: &[u8; N], random: &mut Random) -> [u8; N] {
    let mut flipped = *bytes;
    flipped[random.below(N)] ^= 1 << random.below(8);
    flipped
}

/// A signature whose r stands for an x-coordinate that is not below the order, and a key under which it holds for this
/// message: nobody knows the secret of that key.
pub fn wrapped(random: &mut Random, message: &[u8]) -> (Point, Signature) {
    // The x-coordinates n, n + 1, … below p; about half of them have a point.
    let (nonce_point, r) = loop {
        let r = Scalar::from(1 + random.next() % 1_000_000);
        let sum = U256::from_be_slice(&r.to_repr()).wrapping_add(&order());
        let mut bytes = [2; 33];
        bytes[1..].copy_from_slice(sum.to_be_bytes().as_slice());
        if let Ok(point) = Point::from_bytes(&bytes) {
            break (point, r);
        }
    };
    let s = random.scalar();
    let digest: [u8; 32] = Sha256::digest(message).into();
    // Q = (sR − eG) / r
    let encoded = p256::Sec1Point::from_bytes(nonce_point.as_bytes()).expect("a point");
    let nonce_point = ProjectivePoint::from(AffinePoint::from_sec1_point(&encoded).expect("on the curve"));
    let sum = nonce_point * s - ProjectivePoint::GENERATOR * reduce(&digest);
    let key = sum * Option::<Scalar>::from(r.invert()).expect("not zero");
    let bytes = [<[u8; 32]>::from(r.to_repr()), s.to_repr().into()].concat();
    (public(&key.to_affine()), signature(&bytes.try_into().expect("64 bytes")))
}

/// n, as a number that it does not reduce.
pub fn order() -> U256 {
    U256::from_be_slice(&(-Scalar::ONE).to_repr()).wrapping_add(&U256::ONE)
}
