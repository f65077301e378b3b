//! Float literals that give the same bits back.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// An `f32`.
pub(super) fn f32(v: f32) -> TokenStream {
    if v == f32::INFINITY {
        return quote!(f32::INFINITY);
    }
    if v == f32::NEG_INFINITY {
        return quote!(f32::NEG_INFINITY);
    }
    if v.is_nan() {
        let bits = Literal::u32_unsuffixed(v.to_bits());
        return quote!(f32::from_bits(#bits));
    }
    let digits = Literal::f32_unsuffixed(v.abs());
    if v.is_sign_negative() { quote!(-#digits) } else { quote!(#digits) }
}

/// An `f64`.
pub(super) fn f64(v: f64) -> TokenStream {
    if v == f64::INFINITY {
        return quote!(f64::INFINITY);
    }
    if v == f64::NEG_INFINITY {
        return quote!(f64::NEG_INFINITY);
    }
    if v.is_nan() {
        let bits = Literal::u64_unsuffixed(v.to_bits());
        return quote!(f64::from_bits(#bits));
    }
    let digits = Literal::f64_unsuffixed(v.abs());
    if v.is_sign_negative() { quote!(-#digits) } else { quote!(#digits) }
}
