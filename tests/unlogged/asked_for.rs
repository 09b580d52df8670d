//! A `Published` cannot be asked for from outside the folder of the executors.

use solelog::engine::Engine;
use solelog::execution::Published;

fn ask(engine: &Engine, index: tlog::LeafIndex) {
    let _ = Published::read(engine, index);
}

fn main() {
    let _ = ask;
}
