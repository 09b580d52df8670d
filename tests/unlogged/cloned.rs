//! A `Published` cannot be kept for a second time.

use solelog::execution::Published;

fn keep(published: &Published) -> Published {
    published.clone()
}

fn copied<T: Copy>() {}

fn main() {
    let _ = keep;
    copied::<Published>();
}
