//! Integer arithmetic: wraps, never panics, and gives 0 where PyTorch raises (division by zero).

use super::{Arithmetic, Bits, Shifts};

macro_rules! bits {
    ($($t:ty),*) => {$(
        impl Bits for $t {
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn and(self, b: Self) -> Self {
                self & b
            }
            #[inline(always)]
            fn or(self, b: Self) -> Self {
                self | b
            }
            #[inline(always)]
            fn xor(self, b: Self) -> Self {
                self ^ b
            }
        }
    )*};
}
bits!(bool, u8, i8, i16, i32, i64, u16, u32, u64);

/// What both signednesses share.
macro_rules! shared {
    () => {
        #[inline(always)]
        fn neg(self) -> Self {
            self.wrapping_neg()
        }
        #[inline(always)]
        fn floor(self) -> Self {
            self
        }
        #[inline(always)]
        fn ceil(self) -> Self {
            self
        }
        #[inline(always)]
        fn trunc(self) -> Self {
            self
        }
        #[inline(always)]
        fn round(self) -> Self {
            self
        }
        #[inline(always)]
        fn add(self, b: Self) -> Self {
            self.wrapping_add(b)
        }
        #[inline(always)]
        fn sub(self, b: Self) -> Self {
            self.wrapping_sub(b)
        }
        #[inline(always)]
        fn mul(self, b: Self) -> Self {
            self.wrapping_mul(b)
        }
        #[inline(always)]
        fn trunc_div(self, b: Self) -> Self {
            if b == 0 { 0 } else { self.wrapping_div(b) }
        }
        #[inline(always)]
        fn fmod(self, b: Self) -> Self {
            if b == 0 { 0 } else { self.wrapping_rem(b) }
        }
    };
}

/// Power by squaring, wrapping; `exponent` is not negative.
macro_rules! power {
    ($base:expr, $exponent:expr) => {{
        let (mut base, mut exponent, mut result) = ($base, $exponent, 1);
        while exponent != 0 {
            if exponent & 1 == 1 {
                result = Self::wrapping_mul(result, base);
            }
            exponent >>= 1;
            base = base.wrapping_mul(base);
        }
        result
    }};
}

/// Euclid's algorithm.
macro_rules! gcd {
    ($a:expr, $b:expr) => {{
        let (mut a, mut b) = (Arithmetic::abs($a), Arithmetic::abs($b));
        while b != 0 {
            (a, b) = (b, a.fmod(b));
        }
        a
    }};
}

macro_rules! signed {
    ($($t:ty),*) => {$(
        impl Arithmetic for $t {
            shared!();
            #[inline(always)]
            fn abs(self) -> Self {
                self.wrapping_abs()
            }
            #[inline(always)]
            fn sign(self) -> Self {
                self.signum()
            }
            #[inline(always)]
            fn signbit(self) -> bool {
                self < 0
            }
            #[inline(always)]
            fn floor_div(self, b: Self) -> Self {
                let q = self.trunc_div(b);
                if b != 0 && self.fmod(b) != 0 && (self < 0) != (b < 0) { q.wrapping_sub(1) } else { q }
            }
            #[inline(always)]
            fn remainder(self, b: Self) -> Self {
                let r = self.fmod(b);
                if r != 0 && (r < 0) != (b < 0) { r.wrapping_add(b) } else { r }
            }
            #[inline(always)]
            fn pow(self, b: Self) -> Self {
                if b < 0 {
                    return match self {
                        1 => 1,
                        -1 => if b & 1 == 0 { 1 } else { -1 },
                        _ => 0,
                    };
                }
                power!(self, b)
            }
        }
        impl Shifts for $t {
            #[inline(always)]
            fn shl(self, count: Self) -> Self {
                if count < 0 || count >= Self::BITS as Self { 0 } else { self.wrapping_shl(count as u32) }
            }
            #[inline(always)]
            fn shr(self, count: Self) -> Self {
                let most = Self::BITS as Self - 1;
                self.wrapping_shr(if count < 0 || count > most { most } else { count } as u32)
            }
            #[inline(always)]
            fn gcd(self, b: Self) -> Self {
                gcd!(self, b)
            }
        }
    )*};
}
signed!(i8, i16, i32, i64);

macro_rules! unsigned {
    ($($t:ty),*) => {$(
        impl Arithmetic for $t {
            shared!();
            #[inline(always)]
            fn abs(self) -> Self {
                self
            }
            #[inline(always)]
            fn sign(self) -> Self {
                (self > 0) as Self
            }
            #[inline(always)]
            fn signbit(self) -> bool {
                false
            }
            #[inline(always)]
            fn floor_div(self, b: Self) -> Self {
                self.trunc_div(b)
            }
            #[inline(always)]
            fn remainder(self, b: Self) -> Self {
                self.fmod(b)
            }
            #[inline(always)]
            fn pow(self, b: Self) -> Self {
                power!(self, b)
            }
        }
        impl Shifts for $t {
            #[inline(always)]
            fn shl(self, count: Self) -> Self {
                if count >= Self::BITS as Self { 0 } else { self.wrapping_shl(count as u32) }
            }
            #[inline(always)]
            fn shr(self, count: Self) -> Self {
                if count >= Self::BITS as Self { 0 } else { self.wrapping_shr(count as u32) }
            }
            #[inline(always)]
            fn gcd(self, b: Self) -> Self {
                gcd!(self, b)
            }
        }
    )*};
}
unsigned!(u8, u16, u32, u64);
