//! A `Published` cannot be made by hand, nor can one be altered into another.

use solelog::execution::Published;

fn forge(real: Published, index: tlog::LeafIndex) -> Published {
    Published { index, ..real }
}

fn main() {
    let _ = forge;
}
