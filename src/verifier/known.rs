//! Three authorisations whose signatures hold, as constants: what the self-test asks an engine about.
//!
//! The first two have one profile each. In the third, r of the device signature stands for an x-coordinate that is not
//! below the order (r + n), and nobody knows the secret of its key. All were made by `tests/support/maker.rs`.

use scal3::batch::Job;
use scal3::ecdsa::Signature;
use scal3::point::{Point, Scalar};
use scal3::schnorr::Challenge;

/// A job in hexadecimal digits.
struct Known {
    binding_key: &'static str,
    device_key: &'static str,
    joint_key: &'static str,
    challenge: Challenge,
    message: &'static str,
    c: &'static str,
    z: &'static str,
    device_message: &'static str,
    device_sig: &'static str,
    binding_sig: &'static str,
}

/// The jobs; none if they do not read as jobs.
pub fn jobs() -> Option<Vec<Job>> {
    KNOWN.iter().map(read).collect()
}

fn read(known: &Known) -> Option<Job> {
    let point = |digits| Point::parse(&hex::decode(digits).ok()?).ok();
    let number = |digits| hex::decode(digits).ok()?.try_into().ok();
    let signature = |digits| Signature::parse(&hex::decode(digits).ok()?).ok();
    Some(Job {
        binding_key: point(known.binding_key)?,
        device_key: point(known.device_key)?,
        joint_key: point(known.joint_key)?,
        challenge: known.challenge,
        message: hex::decode(known.message).ok()?,
        c: number(known.c)?,
        z: Scalar::from_bytes(&number(known.z)?).ok()?,
        device_message: hex::decode(known.device_message).ok()?,
        device_sig: signature(known.device_sig)?,
        binding_sig: signature(known.binding_sig)?,
    })
}

const KNOWN: [Known; 3] = [
    Known {
        binding_key: "02c41f4aad8a68304ba5353f4efb6d2979144d52f8665295519f37f8cfcee0217e",
        device_key: "03f7dcf87e7fa2b7c74b1839c075d1baebeddee85c20098e14d269be8d83c482f4",
        joint_key: "0285314a9287834a2d2ba6888ccd05affa43f06927ef063470882d761c1c951b96",
        challenge: Challenge::EcSdsa,
        message: "5a6f235a15cc1eeca51c5a38467c4fb2f83a331e28619e9d41d41d9e2f485f79c210868760ab93ed853835fec83abeb4be3521ce933de11675573b1f04c8a04707a73cf32c1966fea436aecdacc4d009",
        c: "f09d8de65f0678f6b94a4adae7bcac78b9398fc63de422a26ed0fa5ead699af1",
        z: "e632b0dff2ca2449c4b07c53f17656a0fe67fb707a1d6f8fec99c015d8a7acef",
        device_message: "f09d8de65f0678f6b94a4adae7bcac78b9398fc63de422a26ed0fa5ead699af13aa993243739deba9ce7e6b3e766a3164120413274f2e186b61c6720b71bf879",
        device_sig: "68608ea4a9956e9e6c8c8974176f69c049e31deceeaf4f310ccf667244e5b25fae9fa8720329f4fd1ca6ddbb76507f4fa3004549a404018d54c4ee28b39d1867",
        binding_sig: "3111cbe29692e972f068a6c31230fbeb405a3bbd438639a1d2fb69becb6152171d4001499682e9d075412f924a66649b78bd624f978b0a867b0823509e8257b6",
    },
    Known {
        binding_key: "03817a3c6d95d0a95fcd9c1b563127cae2a3fab16a93e760c31f243f626ec33537",
        device_key: "02949817fd42fd429263bd9945759e7bd189f9e4ef7a6684bbb58ea0f9940264f2",
        joint_key: "0322f37719f59154e8c12a06a8da97c646c458602bfc69dbc58fd18027c00ce438",
        challenge: Challenge::Rfc9591,
        message: "1d848213d504e84d18eb8271894c40838073cf75340de3ebf8c659b3242d292c03e6e39fb10142f4865f60b53b7cb56f0d8813455fed96426681c308cd87ec0ee5514965d903b9bc9ca3bc8a60f06bc8",
        c: "c4f1e7131732dcd4713ec496ef2fe87e445d44cd8afb7080cc115a3cd74bb7a4",
        z: "6e5605d184eb92ef77cd27d00590bea3f9c534b658bacdd444de283d91af1cf0",
        device_message: "c4f1e7131732dcd4713ec496ef2fe87e445d44cd8afb7080cc115a3cd74bb7a4f028427c235f22b18342788679d8759e26c2601d82ee6db8458ebf2d2368eb29",
        device_sig: "da1475ce3b910dc68b94f8ca4c756a5c5097c41c49a924c21ad4218ccc55ec8608a3c571e9cd8c9a16a235047d381f214314e0aef458d9aa2004005396035e69",
        binding_sig: "d92b659d549a1831cb91b291c5a49d1c035b94e7c2e4bd31c7ea60b2a87043abe84d3775e60fa98b4870d6fea2ccfe77d37db87dd19ec2ba590a6bc435f9e7a0",
    },
    Known {
        binding_key: "02b26a229a4188342f7de4be26fcc3d04355a86b1351d9dd8af1621253051d4497",
        device_key: "026249b12d6a659126b3bcb95c3a41eaeeca5c6cb685d8250634cd4a7075ff3968",
        joint_key: "025c7f5f465cf4959105ff287eef30dda71f0b3676e97f4db8b04726f02a074ecf",
        challenge: Challenge::EcSdsa,
        message: "982b039d0fdaa83863c62107fc52733fd09bc33000fb667fc2ee2d033eedff87e6499b86c8255d5f3b4ec488024bd0ef022b59820e9204057fc2b7454e811ad76b11b63bfdceafb3b9dfb2d87cfed851",
        c: "9de78a166034fd94be364b60c3129c7db75651276f729e07f93b2b5f1cbfe0a6",
        z: "7b4217fecc4aae346bbc34fdd16e75274169be9c08b5daa50396b0d45315835d",
        device_message: "9de78a166034fd94be364b60c3129c7db75651276f729e07f93b2b5f1cbfe0a6330f625e8ab6b47148d887013259f6d498b97b1175dabe75ea4099125ba8e7c3",
        device_sig: "00000000000000000000000000000000000000000000000000000000000473dfc95ad9a9b51cba107f4e9420dcde85535c6901d3592526516f9a6703e079fba8",
        binding_sig: "06191f94472754ec4dcaee8f7d659ad1b04b6e9aa208a8620dc1e6eab71b9b99d0cccf57b97c552d89b5142a96cfa6f336f7fbd38d5b46ff89ce4f0e18371f14",
    },
];
