//! A provider that runs SCAL3 itself sends finished records; and records that are not right.

use std::fs;

use scal3::Opening;
use scal3::instruction::Value as Field;
use threshold::Profile1;

use super::{Error, Stage, Told};
use crate::cli::cast::{Provider, activation, document};
use crate::cli::init::POLICY;
use crate::cli::stage::expect;
use crate::engine::wall_clock_ms;

pub async fn elsewhere(stage: &Stage, told: &mut Told) -> Result<(), Error> {
    told.chapter("A provider that runs SCAL3 itself sends finished records, and the log trusts it as little");
    let pem = fs::read_to_string(&stage.issuing_key)?;
    let provider = Provider::from_pem(&pem, &stage.origin, POLICY)?;
    let mut carla = provider.enrol::<Profile1>("11223", wall_clock_ms())?;
    let path = "/v1/credentials?until=witnessed";
    expect(stage.post(path, &stage.tokens.append, "application/cose", carla.credential().to_vec()).await?, 201).await?;
    let now = async || Ok::<_, Error>((stage.published().await?, wall_clock_ms()));
    let (seen, time_ms) = now().await?;
    let active = carla.authorise(carla.metadata("credential.activate", &seen, time_ms), &activation()?)?;
    let answer = expect(stage.append(&active).await?, 201).await?;
    if answer["reached"] != "witnessed" {
        return Err(format!("the record is {} and not witnessed", answer["reached"]).into());
    }
    carla.logged(&active)?;
    let index = answer["index"].as_u64().ok_or("no index")?;
    told.step(
        "Carla",
        format_args!("entry {index}: {} bytes to POST /v1/records, verified and witnessed", active.len()),
    );

    let size = stage.published().await?.size;
    let next = document("payment", &[("amount", Field::Uint(1)), ("currency", Field::Text("EUR".into()))])?;
    let (seen, time_ms) = now().await?;
    let good = carla.authorise(carla.metadata(&next.class, &seen, time_ms), &next)?;
    let mut broken = Opening::parse(&good)?;
    *broken.record.last_mut().ok_or("no record")? ^= 1;
    refused(stage, &broken.to_bytes(), 422, "binding", "a record with one bit flipped", told).await?;
    let mut metadata = carla.metadata(&next.class, &seen, time_ms);
    metadata.origin = "other.example/log".into();
    refused(stage, &carla.authorise(metadata, &next)?, 422, "credential", "a record made for another log", told)
        .await?;
    let mut metadata = carla.metadata(&next.class, &seen, time_ms);
    metadata.sequence -= 1;
    metadata.class = "credential.activate".into();
    let used = carla.authorise(metadata, &activation()?)?;
    refused(stage, &used, 409, "metadata", "a used sequence number, signed again", told).await?;

    let again = expect(stage.append(&active).await?, 200).await?;
    if again["index"] != index || again["existing"] != true {
        return Err("the same record again got another answer".into());
    }
    told.step("same again", format_args!("{:<44} entry {index}, as before", "Carla's record, sent once more"));
    let now = stage.published().await?.size;
    if now != size {
        return Err(format!("the log has grown from {size} to {now}").into());
    }
    told.step("not grown", format_args!("{now} entries, as before these four"));
    Ok(())
}

/// A record that must be refused with that status, for that check.
async fn refused(
    stage: &Stage,
    opening: &[u8],
    status: u16,
    check: &str,
    what: &str,
    told: &mut Told,
) -> Result<(), Error> {
    let problem = expect(stage.append(opening).await?, status).await?;
    if problem["check"] != check {
        return Err(format!("{what} was refused for another reason: {problem}").into());
    }
    told.refused(what, problem["detail"].as_str().unwrap_or(""));
    Ok(())
}
