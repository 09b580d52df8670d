//! Proofs: that an entry is in a tree, and that one tree is the beginning of another. For any sizes that a signed head
//! covers; who has tiles can make them without asking.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tlog::proof::InclusionProof;
use tlog::{Hash, LeafHash, LeafIndex};
use utoipa::{IntoParams, ToSchema};

use super::problem::{Error, Problem};
use super::{App, Params, base64, base64_all, size};

/// Which entry, in which tree.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InclusionQuery {
    /// The place of the entry.
    index: u64,
    /// The size of the tree; without it, the newest signed head.
    size: Option<u64>,
}

/// That an entry is in a tree.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InclusionAnswer {
    /// The place of the entry.
    index: u64,
    /// The size of the tree.
    size: u64,
    /// The root of the tree, base64.
    root: String,
    /// The leaf hash of the entry, base64.
    leaf_hash: String,
    /// The proof, base64, the leaf's sibling first.
    hashes: Vec<String>,
}

/// Prove that an entry is in the tree of a size.
#[utoipa::path(
    get,
    path = "/v1/proofs/inclusion",
    tag = "proofs",
    params(InclusionQuery),
    responses(
        (status = 200, body = InclusionAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "The log is not that large; `size` says how large it is"),
    )
)]
pub(super) async fn inclusion(
    State(app): State<App>,
    query: Result<Params<InclusionQuery>, Error>,
) -> Result<Json<InclusionAnswer>, Error> {
    let Params(query) = query?;
    let index = LeafIndex::new(query.index).map_err(|_| Error::Parameter("index: beyond 2^63 - 1".to_owned()))?;
    let newest = app.engine().heads().integrated.head.size;
    let size = query.size.map_or(Ok(newest), size)?;
    if query.size.is_some() && size <= newest && query.index >= size.get() {
        return Err(Error::Parameter(format!("index: a tree of size {} has no entry {}", size.get(), query.index)));
    }
    let answer = |root: Hash, leaf: LeafHash, proof: &InclusionProof| InclusionAnswer {
        index: index.get(),
        size: size.get(),
        root: root.to_base64(),
        leaf_hash: base64(leaf.0),
        hashes: base64_all(&proof.hashes),
    };
    if let Some((root, leaf, proof)) = app.engine().inclusion_from_memory(index, size) {
        return Ok(Json(answer(root, leaf, &proof)));
    }
    let read =
        app.blocking(move |engine| Ok((engine.root_at(size)?, engine.leaf(index)?, engine.inclusion(index, size)?)));
    let (root, leaf, proof) = read.await?;
    Ok(Json(answer(root, leaf, &proof)))
}

/// Which two trees.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConsistencyQuery {
    /// The size of the older tree.
    old: u64,
    /// The size of the newer tree; without it, the newest signed head.
    new: Option<u64>,
}

/// That one tree is the beginning of another.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConsistencyAnswer {
    /// The size of the older tree.
    old: u64,
    /// The root of the older tree, base64.
    old_root: String,
    /// The size of the newer tree.
    new: u64,
    /// The root of the newer tree, base64.
    new_root: String,
    /// The proof, base64.
    hashes: Vec<String>,
}

/// Prove that the tree of one size is the beginning of the tree of another.
#[utoipa::path(
    get,
    path = "/v1/proofs/consistency",
    tag = "proofs",
    params(ConsistencyQuery),
    responses(
        (status = 200, body = ConsistencyAnswer),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "The log is not that large; `size` says how large it is"),
    )
)]
pub(super) async fn consistency(
    State(app): State<App>,
    query: Result<Params<ConsistencyQuery>, Error>,
) -> Result<Json<ConsistencyAnswer>, Error> {
    let Params(query) = query?;
    let old = size(query.old)?;
    let new = query.new.map_or(Ok(app.engine().heads().integrated.head.size), size)?;
    let answer = app.blocking(move |engine| {
        let proof = engine.consistency(old, new)?;
        Ok(ConsistencyAnswer {
            old: old.get(),
            old_root: engine.root_at(old)?.to_base64(),
            new: new.get(),
            new_root: engine.root_at(new)?.to_base64(),
            hashes: base64_all(&proof.hashes),
        })
    });
    Ok(Json(answer.await?))
}
