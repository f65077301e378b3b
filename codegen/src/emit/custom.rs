//! Custom operators: for each a trait that the user implements, and the steps that call it.
//!
//! The decision a reader would question: a trait per operator, not one trait with a method per operator. A method that
//! is missing is rustc's to report, by its name; a trait that is missing is ours to report, with the operator and the
//! lines of Python that call it. Calls of one operator share a trait when dtypes and ranks agree; sizes that differ
//! between them become run-time shapes. An argument that some call leaves out is an `Option`, because the archive does
//! not hold its default: `None` stands for it.

use super::interface::{Form, Tensor};
use super::layers::{Layer, Parameters, about, locals, parameters};
use super::memory::Slices;
use super::names::{self, Variables};
use super::{Emitter, doc, float, kernel, literal};
use crate::diag::{Diagnostic, Errors};
use crate::ir::{Given, TensorType};
use crate::lower::{CustomCall, Step, Work};
use crate::sym::Expr;
use exported_runtime::DType;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

/// The custom operators of a model.
pub(super) struct Operators(Vec<Operator>);

/// Calls of one operator whose arguments have the same dtypes and ranks.
struct Operator {
    /// `fixtures::scaled_relu`.
    name: String,
    /// `FixturesScaledRelu`.
    bound: Ident,
    /// `scaled_relu`.
    method: Ident,
    parameters: Vec<Parameter>,
    results: Vec<Tensor>,
    /// Names of the steps that call it.
    steps: Vec<String>,
    /// Lines of Python that call it.
    lines: Vec<String>,
}

struct Parameter {
    name: String,
    kind: Kind,
    /// Some call leaves it out.
    left_out: bool,
    /// Some call gives `None`.
    none: bool,
}

/// Type of an argument.
#[derive(Clone, Debug)]
enum Kind {
    /// Always `None`.
    None,
    Tensor(Tensor),
    /// A list of tensors of this dtype and rank.
    Tensors(DType, usize),
    Int,
    Float,
    Bool,
    Str,
    Ints,
    Floats,
    Bools,
    Dtype,
}

impl Operators {
    /// Collects the calls.
    ///
    /// # Errors
    /// Arguments whose meaning the archive does not tell.
    pub(super) fn new(steps: &[Step]) -> Result<Operators, Errors> {
        let (mut operators, mut errors) = (Vec::<Operator>::new(), Errors::default());
        for step in steps {
            let Work::Custom(custom) = &step.work else { continue };
            match Operator::new(step, custom) {
                Err(fault) => errors.push(fault.at(&step.origin)),
                Ok(call) => {
                    let known = operators.iter_mut().filter(|known| known.name == call.name);
                    if !known.into_iter().any(|known| known.join(&call)) {
                        operators.push(call);
                    }
                }
            }
        }
        for index in 0..operators.len() {
            // Calls with other dtypes or ranks than the first ones have a trait of their own.
            let earlier = operators[..index].iter().filter(|other| other.name == operators[index].name).count();
            if earlier > 0 {
                operators[index].bound = format_ident!("{}{}", operators[index].bound, earlier + 1);
            }
            errors.0.extend(operators[index].faults());
        }
        errors.into_result(Operators(operators))
    }

    /// What a model with custom operators has and others have not: the parameter for their implementation.
    pub(super) fn generics(&self) -> Generics {
        Generics { bounds: self.0.iter().map(|operator| operator.bound.clone()).collect() }
    }

    /// Names of the operators, each once.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|operator| operator.name.clone()).collect();
        names.dedup();
        names
    }

    /// The module `ops`: a trait per operator.
    pub(super) fn module(&self) -> TokenStream {
        if self.0.is_empty() {
            return quote!();
        }
        let traits = self.0.iter().map(Operator::declaration);
        let about = doc("Custom operators that the model calls: a trait for each, for you to implement.");
        quote! {
            #about
            #[allow(dead_code, unused_imports, clippy::all, clippy::pedantic)]
            pub mod ops {
                use super::rt;
                #(#traits)*
            }
        }
    }
}

/// The type parameter of a model with custom operators.
pub(super) struct Generics {
    bounds: Vec<Ident>,
}

impl Generics {
    /// `<lifetimes, O>`, or what is left of it.
    pub(super) fn arguments(&self, lifetimes: &TokenStream) -> TokenStream {
        self.list(lifetimes, quote!(O))
    }

    /// `<lifetimes, O: ops::A + ops::B>`, or what is left of it.
    pub(super) fn bounded(&self, lifetimes: &TokenStream) -> TokenStream {
        let bounds = &self.bounds;
        self.list(lifetimes, quote!(O: #(ops::#bounds)+*))
    }

    /// `item` if there are custom operators.
    pub(super) fn only(&self, item: TokenStream) -> TokenStream {
        if self.bounds.is_empty() { quote!() } else { item }
    }

    fn list(&self, lifetimes: &TokenStream, parameter: TokenStream) -> TokenStream {
        match (self.bounds.is_empty(), lifetimes.is_empty()) {
            (true, true) => quote!(),
            (true, false) => quote!(<#lifetimes>),
            (false, true) => quote!(<#parameter>),
            (false, false) => quote!(<#lifetimes, #parameter>),
        }
    }
}

impl Operator {
    fn new(step: &Step, custom: &CustomCall) -> Result<Operator, Diagnostic> {
        let parameters = custom.call.arguments.iter().map(|(name, given)| {
            let kind = kind(given, &custom.operands)?;
            let none = matches!(kind, Kind::None);
            Ok(Parameter { name: name.clone(), kind, left_out: false, none })
        });
        let (name, target) = (custom.call.name(), &custom.call.target);
        let words = target.strip_suffix(".default").unwrap_or(target);
        let method = words.split_once('.').map_or(words, |(_, method)| method);
        Ok(Operator {
            bound: Ident::new(&names::camel(words), Span::call_site()),
            method: Variables::default().fresh(method),
            name,
            parameters: parameters.collect::<Result<_, Diagnostic>>()?,
            results: custom.results.iter().map(|(_, ty)| row_major(ty)).collect(),
            steps: vec![step.name.clone()],
            lines: step.origin.source.clone().into_iter().collect(),
        })
    }

    /// Takes another call in; false where its dtypes or ranks are others.
    fn join(&mut self, call: &Operator) -> bool {
        let parameter = |name: &str| self.parameters.iter().position(|p| p.name == name);
        let mut kinds = Vec::new();
        for new in &call.parameters {
            let known = parameter(&new.name).map(|at| unite(&self.parameters[at].kind, &new.kind));
            match known {
                Some(None) => return false,
                Some(kind) => kinds.push(kind),
                None => kinds.push(None),
            }
        }
        let results = self.results.iter().zip(&call.results).map(|(a, b)| unite_tensors(a, b));
        let Some(results) = results.collect::<Option<Vec<_>>>().filter(|_| self.results.len() == call.results.len())
        else {
            return false;
        };
        self.results = results;
        for known in &mut self.parameters {
            known.left_out |= call.parameters.iter().all(|new| new.name != known.name);
        }
        let mut next = 0;
        for (new, kind) in call.parameters.iter().zip(kinds) {
            match (self.parameters.iter().position(|p| p.name == new.name), kind) {
                (Some(at), Some(kind)) => {
                    self.parameters[at].kind = kind;
                    self.parameters[at].none |= new.none;
                    next = at + 1;
                }
                _ => {
                    let (name, kind) = (new.name.clone(), new.kind.clone());
                    self.parameters.insert(next, Parameter { name, kind, left_out: true, none: new.none });
                    next += 1;
                }
            }
        }
        self.steps.extend(call.steps.iter().cloned());
        let lines = call.lines.iter().filter(|line| !self.lines.contains(line)).cloned().collect::<Vec<_>>();
        self.lines.extend(lines);
        true
    }

    /// Arguments that are `None` in one call and left out in another: the default may be something else.
    fn faults(&self) -> impl Iterator<Item = Diagnostic> {
        self.parameters.iter().filter(|p| p.left_out && p.none).map(|p| {
            let message =
                format!("argument `{}` of `{}` is `None` in one call and left out in another", p.name, self.name);
            Diagnostic::unsupported(message).help("give it in every call")
        })
    }

    /// Where it is called: `a.py:3, a.py:9`.
    fn places(&self) -> String {
        match self.lines.is_empty() {
            true => "a line that the archive does not tell".into(),
            false => self.lines.join(", "),
        }
    }

    fn declaration(&self) -> TokenStream {
        let (bound, method, name, places) = (&self.bound, &self.method, &self.name, self.places());
        let about = doc(&format!("Custom operator `{name}`, called at `{places}`."));
        let about_method = doc(&self.documentation());
        let mut variables = Variables::without(&["self"]);
        let mut declared = Vec::new();
        let mut passed = Vec::new();
        for parameter in &self.parameters {
            let (variable, ty) = (variables.fresh(&parameter.name), parameter.ty());
            declared.push(quote!(#variable: #ty));
            passed.push(variable);
        }
        for (index, tensor) in self.results.iter().enumerate() {
            let (variable, ty) =
                (variables.fresh(&result_name(index, self.results.len())), tensor.borrowed(&quote!(), true));
            declared.push(quote!(#variable: #ty));
            passed.push(variable);
        }
        let message = format!("`{{Self}}` does not implement the custom operator `{name}`");
        let label = format!("the model calls `{name}` at {places}");
        let note = format!("implement the trait `ops::{bound}` of the model's module");
        let result = quote!(::core::result::Result<(), rt::Error>);
        quote! {
            #about
            #[diagnostic::on_unimplemented(message = #message, label = #label, note = #note)]
            pub trait #bound {
                #about_method
                fn #method(&mut self, #(#declared),*) -> #result;
            }
            impl<T: #bound + ?::core::marker::Sized> #bound for &mut T {
                #[inline]
                fn #method(&mut self, #(#declared),*) -> #result { T::#method(*self, #(#passed),*) }
            }
        }
    }

    fn documentation(&self) -> String {
        let mut text = format!("Computes `{}`.\n\n", self.name);
        for parameter in &self.parameters {
            text += &format!("* `{}`: {}", parameter.name, describe(&parameter.kind));
            text += match (parameter.left_out, parameter.none) {
                (true, _) => "; `None` where a call leaves it to the operator's default",
                (_, true) if !matches!(parameter.kind, Kind::None) => "; `None` where a call says so",
                _ => "",
            };
            text.push('\n');
        }
        for (index, tensor) in self.results.iter().enumerate() {
            let name = result_name(index, self.results.len());
            text += &format!("* `{name}`: the result, `{}`, to be written as a whole\n", shape_text(tensor));
        }
        text + "\n# Errors\nWhatever fails the call of the model, which then commits nothing."
    }
}

fn result_name(index: usize, count: usize) -> String {
    if count == 1 { "out".into() } else { format!("out_{index}") }
}

fn row_major(ty: &TensorType) -> Tensor {
    Tensor::new(ty, (0..ty.shape.len()).collect())
}

fn kind(given: &Given, operands: &[(crate::lower::Region, TensorType)]) -> Result<Kind, Diagnostic> {
    let operand =
        |i: &usize| operands.get(*i).map(|(_, ty)| ty).ok_or_else(|| Diagnostic::bug("an operand is missing"));
    Ok(match given {
        Given::None => Kind::None,
        Given::Tensor(i) => Kind::Tensor(row_major(operand(i)?)),
        Given::Tensors(list) => {
            let types = list.iter().map(operand).collect::<Result<Vec<_>, _>>()?;
            let Some(first) = types.first() else {
                return Err(Diagnostic::unsupported("an empty list of tensors as argument of a custom operator"));
            };
            let (dtype, rank) = (first.dtype, first.shape.len());
            if types.iter().any(|ty| ty.dtype != dtype || ty.shape.len() != rank) {
                return Err(Diagnostic::unsupported(
                    "a list of tensors of different dtypes or ranks as argument of a custom operator",
                )
                .help("let the operator take them as arguments of their own"));
            }
            Kind::Tensors(dtype, rank)
        }
        Given::Int(_) => Kind::Int,
        Given::Float(_) => Kind::Float,
        Given::Bool(_) => Kind::Bool,
        Given::Str(_) => Kind::Str,
        Given::Ints(_) => Kind::Ints,
        Given::Floats(_) => Kind::Floats,
        Given::Bools(_) => Kind::Bools,
        Given::Dtype(_) => Kind::Dtype,
    })
}

/// The type that holds both.
fn unite(a: &Kind, b: &Kind) -> Option<Kind> {
    match (a, b) {
        (Kind::None, other) | (other, Kind::None) => Some(other.clone()),
        (Kind::Tensor(a), Kind::Tensor(b)) => unite_tensors(a, b).map(Kind::Tensor),
        (Kind::Tensors(a, n), Kind::Tensors(b, m)) => (a == b && n == m).then_some(Kind::Tensors(*a, *n)),
        // Python takes an integer where a float is wanted.
        (Kind::Int, Kind::Float) | (Kind::Float, Kind::Int) => Some(Kind::Float),
        (Kind::Ints, Kind::Floats) | (Kind::Floats, Kind::Ints) => Some(Kind::Floats),
        _ => (std::mem::discriminant(a) == std::mem::discriminant(b)).then(|| a.clone()),
    }
}

fn unite_tensors(a: &Tensor, b: &Tensor) -> Option<Tensor> {
    let fit = a.dtype == b.dtype && a.sizes.len() == b.sizes.len();
    let form = if a.sizes == b.sizes { a.form } else { Form::Shaped };
    fit.then(|| Tensor { form, ..a.clone() })
}

impl Parameter {
    fn is_optional(&self) -> bool {
        !matches!(self.kind, Kind::None) && (self.left_out || self.none)
    }

    fn ty(&self) -> TokenStream {
        let ty = match &self.kind {
            Kind::None => quote!(()),
            Kind::Tensor(tensor) => tensor.borrowed(&quote!(), false),
            Kind::Tensors(dtype, rank) => {
                let (item, rank) = (item(*dtype), literal(*rank));
                quote!(&[rt::TensorRef<'_, #item, #rank>])
            }
            Kind::Int => quote!(i64),
            Kind::Float => quote!(f64),
            Kind::Bool => quote!(bool),
            Kind::Str => quote!(&str),
            Kind::Ints => quote!(&[i64]),
            Kind::Floats => quote!(&[f64]),
            Kind::Bools => quote!(&[bool]),
            Kind::Dtype => quote!(rt::DType),
        };
        if self.is_optional() { quote!(::core::option::Option<#ty>) } else { ty }
    }
}

fn item(dtype: DType) -> TokenStream {
    row_major(&TensorType { dtype, shape: Vec::new() }).item()
}

fn shape_text(tensor: &Tensor) -> String {
    match tensor.form {
        Form::Shaped => format!("{} of {} dims", tensor.dtype.name(), tensor.sizes.len()),
        _ => tensor.text(),
    }
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::None => "always `None`".into(),
        Kind::Tensor(tensor) => format!("`{}`", shape_text(tensor)),
        Kind::Tensors(dtype, rank) => format!("tensors, `{}` of {rank} dims", dtype.name()),
        Kind::Int => "an integer".into(),
        Kind::Float => "a float".into(),
        Kind::Bool => "a truth value".into(),
        Kind::Str => "a text".into(),
        Kind::Ints => "integers".into(),
        Kind::Floats => "floats".into(),
        Kind::Bools => "truth values".into(),
        Kind::Dtype => "a dtype".into(),
    }
}

/// Prints a step that calls an operator.
///
/// # Errors
/// A call that no trait covers: our fault.
pub(super) fn layer(emitter: &Emitter<'_>, step: &Step, custom: &CustomCall) -> Result<Layer, Diagnostic> {
    let operator = emitter.operators.0.iter().find(|operator| operator.steps.contains(&step.name));
    let operator = operator.ok_or_else(|| Diagnostic::bug("a custom operator without a trait"))?;
    let mut slices = Slices::new(emitter);
    let mut values = Vec::new();
    for parameter in &operator.parameters {
        let given = custom.call.arguments.iter().find(|(name, _)| *name == parameter.name).map(|(_, given)| given);
        values.push(match given {
            _ if matches!(parameter.kind, Kind::None) => quote!(()),
            None | Some(Given::None) => quote!(None),
            Some(given) => {
                let value = argument(&mut slices, parameter, given, custom)?;
                if parameter.is_optional() { quote!(Some(#value)) } else { value }
            }
        });
    }
    for (index, (tensor, (region, ty))) in operator.results.iter().zip(&custom.results).enumerate() {
        let items = slices.write(region, &result_name(index, custom.results.len()))?;
        let tensor = Tensor { form: tensor.form, ..row_major(ty) };
        values.push(tensor.view_mut(items));
        slices.symbols.extend(tensor.sizes.iter().flat_map(Expr::symbols));
    }
    let Parameters { declared, passed } = parameters(emitter, &slices, false);
    let (name, about) = (names::ident(&step.name), doc(&about(step)));
    let (taken, symbols, bound, method) =
        (slices.statements(), locals(&slices.symbols), &operator.bound, &operator.method);
    let items = quote! {
        #about
        pub(super) fn #name<O: super::ops::#bound>(ops: &mut O, #(#declared),*) -> Result<(), rt::Error> {
            #symbols
            #taken
            super::ops::#bound::#method(ops, #(#values),*)
        }
    };
    Ok(Layer { items, call: quote!(layers::#name(self.ops, #(#passed),*)?) })
}

/// The value that a call gives.
fn argument(
    slices: &mut Slices<'_, '_>,
    parameter: &Parameter,
    given: &Given,
    custom: &CustomCall,
) -> Result<TokenStream, Diagnostic> {
    let tensor = |index: usize, form: Option<Form>, slices: &mut Slices<'_, '_>| {
        let (region, ty) = custom.operands.get(index).ok_or_else(|| Diagnostic::bug("an operand is missing"))?;
        let own = row_major(ty);
        let tensor = Tensor { form: form.unwrap_or(own.form), ..own };
        slices.symbols.extend(tensor.sizes.iter().flat_map(Expr::symbols));
        Ok(tensor.view(slices.read(region, &parameter.name)?))
    };
    let mut number = |value: &Expr| {
        slices.symbols.extend(value.symbols());
        match value {
            Expr::Int(value) => kernel::integer(*value),
            Expr::Float(bits) => float::f64(f64::from_bits(*bits)),
            value => value.rust(),
        }
    };
    Ok(match (given, &parameter.kind) {
        (Given::Tensor(index), Kind::Tensor(kind)) => tensor(*index, Some(kind.form), slices)?,
        (Given::Tensors(list), _) => {
            let list = list.iter().map(|index| tensor(*index, Some(Form::Shaped), slices));
            let list = list.collect::<Result<Vec<_>, Diagnostic>>()?;
            quote!(&[#(#list),*])
        }
        (Given::Int(value), Kind::Float) => number(&Expr::to_float(value)),
        (Given::Int(value) | Given::Float(value) | Given::Bool(value), _) => number(value),
        (Given::Ints(list), Kind::Floats) => {
            let list = list.iter().map(|value| number(&Expr::to_float(value)));
            quote!(&[#(#list),*])
        }
        (Given::Ints(list), _) => {
            let list = list.iter().map(number);
            quote!(&[#(#list),*])
        }
        (Given::Str(text), _) => quote!(#text),
        (Given::Floats(list), _) => {
            let list = list.iter().map(|value| float::f64(*value));
            quote!(&[#(#list),*])
        }
        (Given::Bools(list), _) => quote!(&[#(#list),*]),
        (Given::Dtype(dtype), _) => super::memory::dtype(*dtype),
        _ => return Err(Diagnostic::bug(format!("argument `{}` of another kind than its type", parameter.name))),
    })
}
