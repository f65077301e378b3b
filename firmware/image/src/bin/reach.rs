//! Links many models through the flat door, to see what all their kernels together can reach. Whether a call succeeds
//! does not matter: neither compiler nor linker knows what the arguments are.
#![no_std]
#![no_main]

use core::hint::black_box;
use exported::StaticWorkspace;
use exported::rt::Level;
use exported::rt::program::{Program, Value, ValueMut};

include!(concat!(env!("OUT_DIR"), "/models.rs"));

exported_board::entry!(main);

static WORKSPACE: StaticWorkspace<16> = StaticWorkspace::new();

fn main() -> ! {
    if let Some(mut workspace) = black_box(WORKSPACE.take()) {
        each(|program| {
            let inputs: &[Value<'_>] = black_box(&[]);
            let outputs: &mut [ValueMut<'_>] = black_box(&mut []);
            _ = black_box(program.forward_flat(Level::Portable, &mut workspace, inputs, outputs));
        });
    }
    exported_board::exit(0)
}
