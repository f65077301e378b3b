//! Must not compile when `refused` is set: arrays whose sizes the models do not accept.
#[cfg(refused)]
mod wrong {
    mod sizes {
        renamed::include_exported!("../../../fixtures/page/sizes.pt2");
    }
    mod guards {
        renamed::include_exported!("../../../fixtures/page/guards.pt2");
    }

    pub fn all() {
        let array = [[0.0; 2]; 8];
        let row = [0.0; 4];
        // Above `max`, below `min`, not `n + 1`.
        let _ = sizes::Inputs::arrays::<7, 8>(array.first_chunk().unwrap(), &array);
        let _ = sizes::Inputs::arrays::<2, 3>(array.first_chunk().unwrap(), array.first_chunk().unwrap());
        let _ = sizes::Inputs::arrays::<4, 4>(array.first_chunk().unwrap(), array.first_chunk().unwrap());
        // No multiple of four.
        let _ = guards::Inputs::arrays::<3, 4>(row.first_chunk().unwrap(), &row);
    }
}

fn main() {
    #[cfg(refused)]
    wrong::all();
}
