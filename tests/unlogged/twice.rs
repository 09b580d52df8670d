//! Executing takes the `Published`: it is not there a second time.

use solelog::execution::{Executor, Published};

fn twice(executor: &dyn Executor, published: Published) {
    let _ = executor.execute(published);
    let _ = executor.execute(published);
}

fn main() {
    let _ = twice;
}
