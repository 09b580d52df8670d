//! Nothing that comes before `Published` is enough for an executor: not a record that was parsed, whose signatures
//! verified, that was authorised at its place, or that has an index.

use scal3::verify::{Authorized, Submitted};
use solelog::execution::Executor;
use solelog::submission::{Appended, Verified};

fn parsed(executor: &dyn Executor, submitted: Submitted) {
    let _ = executor.execute(submitted);
}

fn verified(executor: &dyn Executor, verified: Verified) {
    let _ = executor.execute(verified);
}

fn authorized(executor: &dyn Executor, authorized: Authorized) {
    let _ = executor.execute(authorized);
}

fn appended(executor: &dyn Executor, appended: Appended) {
    let _ = executor.execute(appended);
}

fn indexed(executor: &dyn Executor, appended: Appended) {
    let _ = executor.execute(appended.index);
}

fn main() {}
