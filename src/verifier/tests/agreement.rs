//! Every engine gives the verdicts of the plain one: for jobs that hold, and for jobs with something wrong in them.

use scal3::batch::{Broken, Job, Plain, VerifyBatch};
use scal3::schnorr::{Challenge, JointError};

mod support;
use support::maker::{Maker, Pair, number, reduce};
use support::{agree, engines};
use verifier::Judge;

#[test]
fn good_jobs_hold_at_every_batch_length() {
    let jobs = Maker::new(1).jobs(40, 5);
    for len in (0..20).chain([31, 32, 33, 40]) {
        assert!(agree(&jobs[..len]).iter().all(Result::is_ok), "{len}");
    }
}

#[test]
fn the_first_broken_signature_is_named() {
    let mut maker = Maker::new(2);
    let jobs: Vec<Job> = (0..8_u8)
        .map(|broken| {
            let mut job = maker.job();
            if broken & 1 != 0 {
                job.binding_key = maker.pair().public();
            }
            if broken & 2 != 0 {
                job.device_key = maker.pair().public();
            }
            if broken & 4 != 0 {
                job.joint_key = maker.pair().public();
            }
            job
        })
        .collect();
    let (binding, device) = (Err(Broken::Binding), Err(Broken::Device));
    let joint = Err(Broken::Joint(JointError::Mismatch));
    assert_eq!(agree(&jobs), [Ok(()), binding, device, binding, joint, binding, device, binding]);
}

#[test]
fn a_commitment_that_is_the_identity_is_told_from_a_mismatch() {
    let mut maker = Maker::new(3);
    let jobs: Vec<Job> = (0..16)
        .map(|at| {
            let (device, joint) = (maker.pair(), maker.pair());
            let mut job = maker.job_of(&device, &joint);
            // z = c·d, so that zG = cQ; and c = z = 0.
            job.c = if at % 2 == 0 { maker.random.bytes() } else { [0; 32] };
            job.z = number(&(reduce(&job.c) * joint.secret));
            job
        })
        .collect();
    assert!(agree(&jobs).iter().all(|verdict| *verdict == Err(Broken::Joint(JointError::Identity))));
}

#[test]
fn keys_that_are_near_the_generator_are_like_any_other() {
    let mut maker = Maker::new(4);
    let mut jobs = Vec::new();
    for times in 1..40_u64 {
        let small = p256::Scalar::from(times);
        for secret in [small, -small] {
            let key = Pair::new(secret);
            jobs.push(maker.job_of(&key, &key));
        }
    }
    assert!(agree(&jobs).iter().all(Result::is_ok));
}

#[test]
fn a_challenge_that_is_not_below_the_order_is_reduced_for_the_arithmetic_only() {
    let mut maker = Maker::new(5);
    let mut job = maker.job();
    job.challenge = Challenge::EcSdsa;
    let jobs: Vec<Job> = [[0xff; 32], [0; 32]].map(|c| Job { c, ..job.clone() }).to_vec();
    assert!(agree(&jobs).iter().all(|verdict| *verdict == Err(Broken::Joint(JointError::Mismatch))));
}

/// `SOLELOG_VERIFIER_CASES=3400000 cargo test --release -p solelog-verifier --test agreement` is the long run.
#[test]
fn random_and_spoiled_jobs_get_one_verdict() {
    let (long, cases) = support::cases(34_000);
    let engines: Vec<_> = engines().into_iter().filter(|(name, _)| *name != "judge").collect();
    let mut maker = Maker::new(6);
    let people: Vec<(Pair, Pair)> = (0..300).map(|_| (maker.pair(), maker.pair())).collect();
    let (mut done, mut held) = (0, 0);
    while done < cases {
        let len = 1 + maker.random.below(100);
        let jobs: Vec<Job> = (0..len)
            .map(|_| {
                let known = people[maker.random.below(people.len())];
                let fresh = (maker.pair(), maker.pair());
                let (device, joint) = if maker.random.below(3) == 0 { fresh } else { known };
                let mut job = maker.job_of(&device, &joint);
                for _ in 0..maker.random.below(3) {
                    maker.spoil(&mut job);
                }
                job
            })
            .collect();
        let verdicts: Vec<_> = engines.iter().map(|(_, engine)| engine.verify_batch(&jobs)).collect();
        // The plain engine takes most of the time, so it is asked now and then; otherwise the portable one judges.
        let plain = maker.random.below(if long { 64 } else { 4 }) == 0;
        let judge = if plain { Plain.verify_batch(&jobs) } else { verdicts[0].clone() };
        if maker.random.below(8) == 0 {
            assert_eq!(Judge.verify_batch(&jobs), judge, "from job {done} of seed 6 on");
        }
        for ((name, _), verdicts) in engines.iter().zip(&verdicts) {
            for (at, (verdict, expected)) in verdicts.iter().zip(&judge).enumerate() {
                assert_eq!(verdict, expected, "{name}, job {} of seed 6: {:?}", done + at, jobs[at]);
            }
            assert_eq!(verdicts.len(), judge.len());
        }
        held += judge.iter().filter(|verdict| verdict.is_ok()).count();
        if long && (done + len) / 100_000 > done / 100_000 {
            println!("{} signatures, {held} of {} jobs hold", 3 * (done + len), done + len);
        }
        done += len;
    }
    assert!(held > done / 4 && held < done * 3 / 4, "{held} of {done} hold: the mixture has lost its sense");
    println!("{done} jobs, {} signatures, {held} hold; {} engines", 3 * done, engines.len());
}
