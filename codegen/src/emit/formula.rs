//! A formula as Rust: statements and expressions over one element.
//!
//! Nodes used once stand where they are used, others become variables. Arithmetic of f32 and f64, comparisons and logic
//! are Rust's operators; everything else is a function of `rt::scalar`, which wraps, rounds and saturates as PyTorch
//! does.

use super::{memory, names};
use crate::diag::Diagnostic;
use crate::ir::{Binary, ExprId, ExprNode, Formula, Literal as Value, Unary};
use exported_runtime::DType;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};
use std::str::FromStr;

/// What the variables of a formula are called.
pub(super) struct Variables {
    /// One per parameter: its value, as the type it is computed in.
    pub(super) params: Vec<Ident>,
    /// One per dim: the coordinate, `i64`.
    pub(super) coordinates: Vec<Ident>,
    /// One per run-time number.
    pub(super) sizes: Vec<Ident>,
    /// Prefix of the variables made here.
    pub(super) prefix: String,
}

/// A printed formula.
pub(super) struct Printed {
    /// `let v3 = ..;`
    pub(super) statements: TokenStream,
    /// One expression per result, bools as `u8`.
    pub(super) results: Vec<TokenStream>,
}

/// Prints a formula.
///
/// # Errors
/// A formula that contradicts itself: our fault.
pub(super) fn print(formula: &Formula, variables: &Variables) -> Result<Printed, Diagnostic> {
    let mut printer =
        Printer { formula, variables, uses: uses(formula), done: Vec::with_capacity(formula.nodes.len()) };
    let mut statements = TokenStream::new();
    for (i, node) in formula.nodes.iter().enumerate() {
        let mut term = printer.term(node)?;
        let named = printer.uses[i] > 1 && !matches!(node, ExprNode::Param(_) | ExprNode::Const(..));
        if named && !term.atom {
            let name = format_ident!("{}{}", variables.prefix, i);
            let value = term.tokens;
            statements.extend(quote!(let #name = #value;));
            term = Term { tokens: quote!(#name), atom: true };
        }
        printer.done.push(term);
    }
    let results = formula.results.iter().map(|&id| printer.stored(id)).collect();
    Ok(Printed { statements, results })
}

/// How often each node is used.
fn uses(formula: &Formula) -> Vec<usize> {
    let mut uses = vec![0; formula.nodes.len()];
    let operands = formula.nodes.iter().flat_map(ExprNode::operands);
    operands.chain(formula.results.iter().copied()).for_each(|id| uses[id.0 as usize] += 1);
    uses
}

/// A printed node; an atom needs no brackets among operators.
#[derive(Clone)]
struct Term {
    tokens: TokenStream,
    atom: bool,
}

struct Printer<'a> {
    formula: &'a Formula,
    variables: &'a Variables,
    uses: Vec<usize>,
    done: Vec<Term>,
}

impl Printer<'_> {
    fn term(&self, node: &ExprNode) -> Result<Term, Diagnostic> {
        let name = |list: &[Ident], i: u32| {
            let name = list.get(i as usize).ok_or_else(|| Diagnostic::bug(format!("a formula without {node:?}")))?;
            Ok(Term { tokens: quote!(#name), atom: true })
        };
        Ok(match *node {
            ExprNode::Param(i) => name(&self.variables.params, i)?,
            ExprNode::Coord(d) => name(&self.variables.coordinates, d)?,
            ExprNode::Size(k) => name(&self.variables.sizes, k)?,
            ExprNode::Const(dtype, value) => constant(dtype, value),
            ExprNode::Unary(op, a) => self.unary(op, a),
            ExprNode::Binary(op, a, b) => self.binary(op, a, b),
            ExprNode::Select(c, a, b) => {
                let (c, a, b) = (self.argument(c), self.argument(a), self.argument(b));
                call(quote!(rt::scalar::select(s, #c, #a, #b)))
            }
            ExprNode::Cast(dtype, a) => {
                let (from, to, a) = (computed(self.formula.dtype(a)), computed(dtype), self.argument(a));
                call(quote!(rt::scalar::cast::<#from, #to>(#a)))
            }
        })
    }

    /// A node as an argument of a function.
    fn argument(&self, id: ExprId) -> &TokenStream {
        &self.done[id.0 as usize].tokens
    }

    /// A node as an operand of an operator.
    fn operand(&self, id: ExprId) -> TokenStream {
        let Term { tokens, atom } = &self.done[id.0 as usize];
        if *atom { tokens.clone() } else { quote!((#tokens)) }
    }

    fn unary(&self, op: Unary, a: ExprId) -> Term {
        let dtype = self.formula.dtype(a);
        let operator = match op {
            Unary::Neg if plain(dtype) => quote!(-),
            Unary::Not if dtype == DType::Bool => quote!(!),
            _ => {
                let (function, a) = (function(&format!("{op:?}")), self.argument(a));
                return call(quote!(rt::scalar::#function(s, #a)));
            }
        };
        let a = self.operand(a);
        Term { tokens: quote!(#operator #a), atom: false }
    }

    fn binary(&self, op: Binary, a: ExprId, b: ExprId) -> Term {
        let dtype = self.formula.dtype(a);
        let half = matches!(dtype, DType::F16 | DType::Bf16);
        let operator = match op {
            Binary::Add if plain(dtype) => quote!(+),
            Binary::Sub if plain(dtype) => quote!(-),
            Binary::Mul if plain(dtype) => quote!(*),
            Binary::Div if plain(dtype) => quote!(/),
            Binary::Eq if !half => quote!(==),
            Binary::Ne if !half => quote!(!=),
            Binary::Lt if !half => quote!(<),
            Binary::Le if !half => quote!(<=),
            Binary::Gt if !half => quote!(>),
            Binary::Ge if !half => quote!(>=),
            Binary::And if dtype == DType::Bool => quote!(&),
            Binary::Or if dtype == DType::Bool => quote!(|),
            Binary::Xor if dtype == DType::Bool => quote!(^),
            _ => {
                let (function, a, b) = (function(&format!("{op:?}")), self.argument(a), self.argument(b));
                return call(quote!(rt::scalar::#function(s, #a, #b)));
            }
        };
        let (a, b) = (self.operand(a), self.operand(b));
        Term { tokens: quote!(#a #operator #b), atom: false }
    }

    /// A result as it is stored.
    fn stored(&self, id: ExprId) -> TokenStream {
        let value = self.argument(id);
        if self.formula.dtype(id) == DType::Bool { quote!(u8::from(#value)) } else { value.clone() }
    }
}

fn call(tokens: TokenStream) -> Term {
    Term { tokens, atom: true }
}

/// Types whose arithmetic is Rust's.
fn plain(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

/// The type a dtype is computed in.
fn computed(dtype: DType) -> TokenStream {
    if dtype == DType::Bool { quote!(bool) } else { memory::element(dtype) }
}

/// The function of `rt::scalar` for a node: its name in snake case, `maximum` and `minimum` for the pair that keeps NaN.
fn function(node: &str) -> Ident {
    let name = match node {
        "Max" => "maximum".to_string(),
        "Min" => "minimum".to_string(),
        _ => {
            let mut snake = String::new();
            for (i, c) in node.chars().enumerate() {
                if c.is_ascii_uppercase() && i > 0 {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            snake
        }
    };
    names::ident(&name)
}

/// A literal with its type, converted once as the evaluator does.
fn constant(dtype: DType, value: Value) -> Term {
    let number = match value {
        Value::Float(bits) => f64::from_bits(bits),
        Value::Int(v) => v as f64,
        Value::Bool(v) => f64::from(u8::from(v)),
    };
    match dtype {
        DType::F64 => float(number, number.is_nan(), Literal::f64_suffixed, quote!(f64)),
        DType::F32 => single(number as f32),
        DType::F16 | DType::Bf16 => {
            let (ty, number) = (memory::element(dtype), single(number as f32).tokens);
            call(quote!(#ty::from_f32(#number)))
        }
        DType::Bool => {
            let truth = number != 0.0;
            call(quote!(#truth))
        }
        _ => integer(dtype, if let Value::Int(v) = value { v } else { number as i64 }),
    }
}

fn single(v: f32) -> Term {
    float(f64::from(v), v.is_nan(), |v| Literal::f32_suffixed(v as f32), quote!(f32))
}

fn float(v: f64, nan: bool, literal: fn(f64) -> Literal, ty: TokenStream) -> Term {
    let negative = v.is_sign_negative();
    let magnitude = match v {
        _ if nan => return call(quote!(#ty::NAN)),
        v if v.is_infinite() && negative => return call(quote!(#ty::NEG_INFINITY)),
        v if v.is_infinite() => return call(quote!(#ty::INFINITY)),
        v => literal(v.abs()),
    };
    if negative { Term { tokens: quote!(-#magnitude), atom: false } } else { call(quote!(#magnitude)) }
}

/// Integers that do not fit their type wrap, as PyTorch's conversion does.
fn integer(dtype: DType, v: i64) -> Term {
    let wrapped = match dtype {
        DType::U8 => i128::from(v as u8),
        DType::U16 => i128::from(v as u16),
        DType::U32 => i128::from(v as u32),
        DType::U64 => i128::from(v as u64),
        DType::I8 => i128::from(v as i8),
        DType::I16 => i128::from(v as i16),
        DType::I32 => i128::from(v as i32),
        _ => i128::from(v),
    };
    let ty = names::ident(dtype.name());
    // The least value has no positive counterpart.
    if wrapped == i128::from(i64::MIN) {
        return call(quote!(#ty::MIN));
    }
    let digits = TokenStream::from_str(&format!("{}{ty}", wrapped.unsigned_abs())).unwrap_or_default();
    if wrapped < 0 { Term { tokens: quote!(-#digits), atom: false } } else { call(digits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(formula: &Formula) -> String {
        let variables = Variables {
            params: (0..formula.params.len()).map(|k| format_ident!("x{k}")).collect(),
            coordinates: vec![format_ident!("c0")],
            sizes: Vec::new(),
            prefix: "v".into(),
        };
        let printed = print(formula, &variables).expect("prints");
        let results: Vec<String> = printed.results.iter().map(ToString::to_string).collect();
        format!("{} {}", printed.statements, results.join("; ")).replace(" :: ", "::").trim().to_string()
    }

    #[test]
    fn operators_functions_and_shared_nodes() {
        let mut f = Formula::new(&[DType::F32, DType::F32]);
        let (a, b) = (f.param(0), f.param(1));
        let sum = f.binary(Binary::Add, a, b);
        let zero = f.float(DType::F32, 0.0);
        let relu = f.binary(Binary::Max, sum, zero);
        let scaled = f.binary(Binary::Mul, sum, a);
        let positive = f.binary(Binary::Gt, scaled, zero);
        f.results = vec![relu, positive];
        assert_eq!(text(&f), "let v2 = x0 + x1 ; rt::scalar::maximum (s , v2 , 0f32); u8::from ((v2 * x0) > 0f32)");
    }

    #[test]
    fn integers_wrap_and_casts_name_their_types() {
        let mut f = Formula::new(&[DType::I32]);
        let x = f.param(0);
        let c = f.int(DType::I32, -5);
        let product = f.binary(Binary::Mul, x, c);
        let y = f.cast(DType::F16, product);
        f.results = vec![y];
        assert_eq!(text(&f), "rt::scalar::cast::< i32 , rt::F16 > (rt::scalar::mul (s , x0 , - 5i32))");
    }

    #[test]
    fn literals_of_all_kinds() {
        let mut f = Formula::new(&[]);
        f.results = vec![
            f.push(ExprNode::Const(DType::U8, Value::Int(300))),
            f.push(ExprNode::Const(DType::I64, Value::Int(i64::MIN))),
            f.push(ExprNode::Const(DType::F32, Value::float(f64::NEG_INFINITY))),
            f.push(ExprNode::Const(DType::F64, Value::float(-0.1))),
            f.push(ExprNode::Const(DType::F32, Value::float(f64::NAN))),
            f.push(ExprNode::Const(DType::Bool, Value::Bool(true))),
        ];
        assert_eq!(text(&f), "44u8; i64::MIN; f32::NEG_INFINITY; - 0.1f64; f32::NAN; u8::from (true)");
    }
}
