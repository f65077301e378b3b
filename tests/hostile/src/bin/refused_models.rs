//! Must not compile when `refused` is set: each macro refuses for a reason of its own.
#[cfg(refused)]
mod training {
    renamed::include_exported!("../../../fixtures/refused/dropout_in_training.pt2");
}
#[cfg(refused)]
mod missing {
    renamed::include_exported!("no_such_file.pt2");
}
#[cfg(refused)]
mod option {
    renamed::include_exported!("../../../fixtures/interface/keyword_names.pt2", optimise = "size");
}
#[cfg(refused)]
mod output {
    renamed::include_exported!("../../../fixtures/interface/keyword_names.pt2", outputs("a", "b", "a"));
}
#[cfg(refused)]
mod extra {
    renamed::include_exported!("../../../fixtures/interface/keyword_names.pt2", extra("labels.txt"));
}
#[cfg(refused)]
mod entered {
    renamed::include_exported!(
        "../../../fixtures/interface/dynamic_batch_mlp.pt2",
        cap("x.0" = 5),
        inputs = "workspace"
    );
}
#[cfg(refused)]
mod budget {
    renamed::include_exported!("../../../fixtures/networks/residual.pt2", ram = "1K", flash = "2K");
}
#[cfg(refused)]
mod unbounded {
    renamed::include_exported!("../../../fixtures/refused/unbounded_dim.pt2");
}

fn main() {}
