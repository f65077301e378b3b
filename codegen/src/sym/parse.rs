//! Text to expression: one operator-precedence parser for sympy's `srepr` (`Add(Symbol('s77'), Integer(1))`), sympy's
//! infix (`s77 + 1`) and Python guards (`L['x'].size()[0] % 4 == 0`).
//!
//! The text is untrusted: its length and nesting are limited, names are looked up in a closed table, and operands are
//! checked to be of the right kind.

use super::lex::{Token, tokens};
use super::{Expr, Func, Kind};

/// Deepest nesting of brackets, calls and unary operators.
const MAX_DEPTH: usize = 100;

/// Reads an expression in whichever of the two notations it is written in.
pub fn parse(text: &str) -> Result<Expr, String> {
    if is_srepr(text) { parse_srepr(text) } else { parse_infix(text) }
}

/// Whether a text is in the first notation rather than the second.
fn is_srepr(text: &str) -> bool {
    ["Symbol(", "Integer(", "Float('"].iter().any(|leaf| text.contains(leaf))
}

/// Reads sympy's `srepr`, the notation of `expr_str` since torch 2.6.
pub fn parse_srepr(text: &str) -> Result<Expr, String> {
    read(text, Notation::Srepr)
}

/// Reads sympy's infix notation: `expr_str` of torch 2.5, and the keys of `range_constraints`.
pub fn parse_infix(text: &str) -> Result<Expr, String> {
    read(text, Notation::Infix)
}

/// Infix text of an expression in either notation, without any algebra: terms, factors and powers stand as they were written.
pub fn infix(text: &str) -> Result<String, String> {
    if is_srepr(text) { read(text, Notation::Written).map(|e| e.to_string()) } else { Ok(text.to_owned()) }
}

pub(super) enum Notation<'n> {
    Srepr,
    /// [`Notation::Srepr`], not simplified.
    Written,
    Infix,
    /// Leaves are read by [`super::guards`].
    Guard(&'n mut super::guards::Resolve<'n>),
}

/// Reads all of `text`; errors quote it.
pub(super) fn read(text: &str, notation: Notation) -> Result<Expr, String> {
    let result = tokens(text).and_then(|tokens| {
        let mut parser = Parser { tokens, at: 0, depth: 0, notation };
        let expr = parser.expr(Level::Ternary)?;
        parser.expect(Token::End)?;
        limited(expr)
    });
    result.map_err(|fault| {
        let quoted: String = text.chars().take(200).collect();
        let dots = if quoted.len() < text.len() { "…" } else { "" };
        format!("cannot read `{quoted}{dots}`: {fault}")
    })
}

/// How tightly operators bind, Python's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ternary,
    Or,
    And,
    Not,
    Compare,
    BitOr,
    BitAnd,
    Shift,
    Sum,
    Product,
    Unary,
    Power,
}

pub(super) struct Parser<'a, 'n> {
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
    notation: Notation<'n>,
}

impl<'a> Parser<'a, '_> {
    pub(super) fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    pub(super) fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    pub(super) fn take(&mut self, token: Token) -> bool {
        let found = self.peek() == token;
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, token: Token) -> Result<(), String> {
        if self.take(token) {
            Ok(())
        } else {
            Err(format!("{} where {} is expected", shown(self.peek()), shown(token)))
        }
    }

    /// Whether the notation has no operators.
    fn only_calls(&self) -> bool {
        matches!(self.notation, Notation::Srepr | Notation::Written)
    }

    /// An expression of operators that bind at least as tightly as `level`.
    fn expr(&mut self, level: Level) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        let mut left = self.prefix()?;
        while !self.only_calls() {
            let Some(operator) = infix_level(self.peek()).filter(|l| *l >= level) else { break };
            left = self.infix(left, operator)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    /// What begins an expression: a leaf, a call, brackets, or an operator that stands before its operand.
    fn prefix(&mut self) -> Result<Expr, String> {
        if self.only_calls() && !matches!(self.peek(), Token::Name(_) | Token::Number(_)) {
            return Err(format!("unexpected {}", shown(self.peek())));
        }
        match self.next() {
            Token::Number(digits) => number(digits, false),
            Token::Mark("(") => {
                let inside = self.expr(Level::Ternary)?;
                self.expect(Token::Mark(")"))?;
                Ok(inside)
            }
            Token::Mark("-") => self.negative(),
            Token::Mark("+") => numeric(self.expr(Level::Unary)?),
            Token::Mark("~") => Ok(Expr::not(condition(self.expr(Level::Unary)?)?)),
            Token::Name("not") => Ok(Expr::not(condition(self.expr(Level::Not)?)?)),
            Token::Name("True" | "true") => Ok(Expr::Bool(true)),
            Token::Name("False" | "false") => Ok(Expr::Bool(false)),
            Token::Name(name) => self.named(name),
            token => Err(format!("unexpected {}", shown(token))),
        }
    }

    fn negative(&mut self) -> Result<Expr, String> {
        // The least integer has no positive counterpart; but `-2**2` is `-(2**2)`.
        if let Token::Number(digits) = self.peek()
            && self.tokens.get(self.at + 1) != Some(&Token::Mark("**"))
        {
            self.at += 1;
            return number(digits, true);
        }
        Ok(Expr::neg(numeric(self.expr(Level::Unary)?)?))
    }

    /// A name and what follows it: a call or a symbol; in guards, a path into the arguments or a dotted function.
    fn named(&mut self, name: &'a str) -> Result<Expr, String> {
        if let Notation::Guard(_) = self.notation
            && name == "L"
        {
            let path = super::guards::leaf(self)?;
            let Notation::Guard(resolve) = &mut self.notation else { return Err("no guard".to_owned()) };
            return resolve(&path);
        }
        let mut name = name.to_owned();
        while matches!(self.notation, Notation::Guard(_)) && self.take(Token::Mark(".")) {
            let Token::Name(part) = self.next() else { return Err(format!("no name after `{name}.`")) };
            name = format!("{name}.{part}");
        }
        if !self.take(Token::Mark("(")) {
            return match self.notation {
                Notation::Infix => symbol(&name),
                _ => Err(format!("unexpected `{name}`")),
            };
        }
        match &*name {
            "Symbol" | "Integer" | "Float" if self.only_calls() => self.leaf(&name),
            "Piecewise" => self.piecewise(),
            _ => {
                let args = self.arguments()?;
                match self.notation {
                    Notation::Written => called(&name, args, |func, args| Expr::Op(func, args.into())),
                    _ => call(&name, args),
                }
            }
        }
    }

    /// `'s77', positive=True, integer=True)`, `-3)`, `'0.5', precision=53)`.
    fn leaf(&mut self, constructor: &str) -> Result<Expr, String> {
        let negative = self.take(Token::Mark("-"));
        let leaf = match (constructor, self.next()) {
            ("Symbol", Token::Text(name)) if !negative => symbol(name)?,
            ("Integer", Token::Number(digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                number(digits, negative)?
            }
            ("Float", Token::Text(digits)) => {
                let value = digits.parse::<f64>().ok().filter(|v| v.is_finite());
                let value = value.ok_or_else(|| format!("`{digits}` is no finite number"))?;
                Expr::float(if negative { -value } else { value })
            }
            (_, token) => return Err(format!("unexpected {} in `{constructor}`", shown(token))),
        };
        while self.take(Token::Mark(",")) {
            self.keyword()?;
        }
        self.expect(Token::Mark(")"))?;
        Ok(leaf)
    }

    /// Keyword arguments say nothing that the symbol's range does not.
    fn keyword(&mut self) -> Result<(), String> {
        match (self.next(), self.next(), self.next()) {
            (Token::Name(_), Token::Mark("="), Token::Name(_) | Token::Number(_) | Token::Text(_)) => Ok(()),
            (token, ..) => Err(format!("unexpected {}", shown(token))),
        }
    }

    /// Arguments up to the closing bracket.
    fn arguments(&mut self) -> Result<Vec<Expr>, String> {
        let mut args = Vec::new();
        while !self.take(Token::Mark(")")) {
            if !args.is_empty() {
                self.expect(Token::Mark(","))?;
            }
            args.push(self.expr(Level::Ternary)?);
        }
        Ok(args)
    }

    /// `ExprCondPair(a, c), …)` or `(a, c), …)`; the last condition is `true`.
    fn piecewise(&mut self) -> Result<Expr, String> {
        let mut pairs = Vec::new();
        while !self.take(Token::Mark(")")) {
            if !pairs.is_empty() {
                self.expect(Token::Mark(","))?;
            }
            self.take(Token::Name("ExprCondPair"));
            self.expect(Token::Mark("("))?;
            let value = self.expr(Level::Ternary)?;
            self.expect(Token::Mark(","))?;
            pairs.push((value, condition(self.expr(Level::Ternary)?)?));
            self.expect(Token::Mark(")"))?;
            if pairs.len() > MAX_DEPTH {
                return Err("too many cases".to_owned());
            }
        }
        let Some((last, Expr::Bool(true))) = pairs.pop() else {
            return Err("`Piecewise` without a case for everything else".to_owned());
        };
        pairs.into_iter().rev().try_fold(last, |otherwise, (value, c)| choice(c, value, otherwise))
    }

    /// The operators at `level` that follow `left`, as far as they can be read at once.
    fn infix(&mut self, left: Expr, level: Level) -> Result<Expr, String> {
        match level {
            Level::Ternary => self.ternary(left),
            Level::Or => self.chain(left, level, &["or"], Func::Or),
            Level::And => self.chain(left, level, &["and"], Func::And),
            Level::BitOr => self.chain(left, level, &["|"], Func::Or),
            Level::BitAnd => self.chain(left, level, &["&"], Func::And),
            Level::Compare => self.comparisons(left),
            Level::Sum => self.chain(left, level, &["+", "-"], Func::Add),
            Level::Product if self.peek() == Token::Mark("*") => self.chain(left, level, &["*"], Func::Mul),
            _ => {
                let operator = self.next();
                // `**` groups to the right, and its exponent may have a sign.
                let right = self.expr(if level == Level::Power { Level::Unary } else { level.tighter() })?;
                let name = match operator {
                    Token::Mark("**") => "Pow",
                    Token::Mark("//") => "FloorDiv",
                    Token::Mark("%") => "Mod",
                    Token::Mark("/") => "IntTrueDiv",
                    Token::Mark("<<") => "LShift",
                    _ => "RShift",
                };
                call(name, vec![left, right])
            }
        }
    }

    /// A run of operators that make one n-ary operation.
    fn chain(&mut self, left: Expr, level: Level, operators: &[&str], func: Func) -> Result<Expr, String> {
        let mut operands = vec![operand(func, left)?];
        while let Token::Mark(operator) | Token::Name(operator) = self.peek() {
            if !operators.contains(&operator) {
                break;
            }
            self.at += 1;
            let right = operand(func, self.expr(level.tighter())?)?;
            operands.push(if operator == "-" { Expr::neg(right) } else { right });
        }
        limited(Expr::apply(func, operands))
    }

    /// `a < b`, or `a < b < c`, which holds if each does.
    fn comparisons(&mut self, left: Expr) -> Result<Expr, String> {
        let mut left = left;
        let mut conditions = Vec::new();
        while infix_level(self.peek()) == Some(Level::Compare) {
            let name = match self.next() {
                Token::Mark("==") => "Eq",
                Token::Mark("!=") => "Ne",
                Token::Mark("<") => "Lt",
                Token::Mark("<=") => "Le",
                Token::Mark(">") => "Gt",
                _ => "Ge",
            };
            let right = self.expr(Level::Compare.tighter())?;
            conditions.push(call(name, vec![left, right.clone()])?);
            left = right;
        }
        limited(Expr::apply(Func::And, conditions))
    }

    /// `a if c else b`
    fn ternary(&mut self, then: Expr) -> Result<Expr, String> {
        self.expect(Token::Name("if"))?;
        let c = condition(self.expr(Level::Or)?)?;
        self.expect(Token::Name("else"))?;
        choice(c, then, self.expr(Level::Ternary)?)
    }
}

impl Level {
    fn tighter(self) -> Level {
        use Level::*;
        match self {
            Ternary => Or,
            Or => And,
            And => Not,
            Not => Compare,
            Compare => BitOr,
            BitOr => BitAnd,
            BitAnd => Shift,
            Shift => Sum,
            Sum => Product,
            Product => Unary,
            Unary | Power => Power,
        }
    }
}

fn infix_level(token: Token) -> Option<Level> {
    Some(match token {
        Token::Name("if") => Level::Ternary,
        Token::Name("or") => Level::Or,
        Token::Name("and") => Level::And,
        Token::Mark("==" | "!=" | "<" | "<=" | ">" | ">=") => Level::Compare,
        Token::Mark("|") => Level::BitOr,
        Token::Mark("&") => Level::BitAnd,
        Token::Mark("<<" | ">>") => Level::Shift,
        Token::Mark("+" | "-") => Level::Sum,
        Token::Mark("*" | "//" | "%" | "/") => Level::Product,
        Token::Mark("**") => Level::Power,
        _ => return None,
    })
}

/// The functions of all notations.
fn call(name: &str, args: Vec<Expr>) -> Result<Expr, String> {
    called(name, args, Expr::apply)
}

fn called(name: &str, args: Vec<Expr>, apply: impl Fn(Func, Vec<Expr>) -> Expr) -> Result<Expr, String> {
    let func = match name {
        "Add" => Func::Add,
        "Mul" => Func::Mul,
        "Pow" | "PowByNatural" | "pow" => Func::Pow,
        "FloorDiv" | "CleanDiv" => Func::FloorDiv,
        "Mod" | "PythonMod" => Func::Mod,
        "Max" | "torch.sym_max" | "max" => Func::Max,
        "Min" | "torch.sym_min" | "min" => Func::Min,
        "ToFloat" | "torch.sym_float" | "float" => Func::ToFloat,
        "TruncToInt" | "math.trunc" | "torch.sym_int" | "int" => Func::TruncToInt,
        "CeilToInt" | "math.ceil" => Func::CeilToInt,
        "FloorToInt" | "math.floor" => Func::FloorToInt,
        "RoundToInt" | "round" => Func::RoundToInt,
        "IntTrueDiv" | "FloatTrueDiv" => Func::IntTrueDiv,
        "FloatPow" => Func::FloatPow,
        "OpaqueUnaryFn_sqrt" | "torch._sym_sqrt" | "torch.sym_sqrt" | "math.sqrt" => Func::Sqrt,
        "Equality" | "Eq" => Func::Eq,
        "Unequality" | "Ne" => Func::Ne,
        "StrictLessThan" | "Lt" => Func::Lt,
        "LessThan" | "Le" => Func::Le,
        "StrictGreaterThan" | "Gt" => Func::Gt,
        "GreaterThan" | "Ge" => Func::Ge,
        "And" => Func::And,
        "Or" => Func::Or,
        "Not" | "torch.sym_not" => Func::Not,
        "LShift" => Func::LShift,
        "RShift" => Func::RShift,
        "Where" | "torch.sym_ite" => {
            let [c, a, b] = exactly(name, args)?;
            return choice(condition(c)?, a, b);
        }
        "ModularIndexing" => {
            let [base, divisor, modulus] = exactly(name, args)?;
            return Ok(Expr::modulo(Expr::floordiv(integer(base)?, integer(divisor)?), integer(modulus)?));
        }
        _ => return Err(format!("unknown function `{name}`")),
    };
    let args = args.into_iter().map(|a| operand(func, a)).collect::<Result<Vec<_>, _>>()?;
    let fits = match func {
        Func::Add | Func::Mul | Func::And | Func::Or => true,
        Func::Max | Func::Min => !args.is_empty(),
        Func::ToFloat | Func::Not | Func::Sqrt => args.len() == 1,
        Func::TruncToInt | Func::CeilToInt | Func::FloorToInt | Func::RoundToInt => args.len() == 1,
        // sympy writes a quotient as a negative power.
        Func::Pow => args.len() == 2 && args[1].as_int().is_none_or(|n| n >= 0),
        Func::Eq | Func::Ne => args.len() == 2 && (args[0].kind() == Kind::Bool) == (args[1].kind() == Kind::Bool),
        _ => args.len() == 2,
    };
    if !fits {
        return Err(format!("`{name}` of these {} operands", args.len()));
    }
    limited(apply(func, args))
}

/// A run of `//` nests without brackets, and expanding a product repeats its factors: whatever is built on must be
/// small.
fn limited(e: Expr) -> Result<Expr, String> {
    if e.within_limits() { Ok(e) } else { Err("too large".to_owned()) }
}

/// Checks the kind of an operand.
fn operand(func: Func, e: Expr) -> Result<Expr, String> {
    match func {
        Func::And | Func::Or | Func::Not => condition(e),
        Func::FloorDiv | Func::Mod | Func::LShift | Func::RShift => integer(e),
        Func::Eq | Func::Ne => Ok(e),
        _ => numeric(e),
    }
}

fn exactly<const N: usize>(name: &str, args: Vec<Expr>) -> Result<[Expr; N], String> {
    args.try_into().map_err(|args: Vec<Expr>| format!("`{name}` of {} operands", args.len()))
}

fn choice(c: Expr, then: Expr, otherwise: Expr) -> Result<Expr, String> {
    if (then.kind() == Kind::Bool) != (otherwise.kind() == Kind::Bool) {
        return Err("a choice between a number and a truth value".to_owned());
    }
    Ok(Expr::ite(c, then, otherwise))
}

fn condition(e: Expr) -> Result<Expr, String> {
    if e.kind() == Kind::Bool { Ok(e) } else { Err(format!("`{e}` is no condition")) }
}

fn numeric(e: Expr) -> Result<Expr, String> {
    if e.kind() == Kind::Bool { Err(format!("`{e}` is no number")) } else { Ok(e) }
}

fn integer(e: Expr) -> Result<Expr, String> {
    if e.kind() == Kind::Int { Ok(e) } else { Err(format!("`{e}` is no integer")) }
}

/// Symbols become identifiers of generated code; torch's all end in a number.
fn symbol(name: &str) -> Result<Expr, String> {
    let valid = name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.ends_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if valid { Ok(Expr::symbol(name)) } else { Err(format!("`{name}` is no symbol")) }
}

fn number(digits: &str, negative: bool) -> Result<Expr, String> {
    let text = if negative { format!("-{digits}") } else { digits.to_owned() };
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Expr::Int).map_err(|_| format!("the integer {text} does not fit 64 bits"));
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Expr::float(value)),
        _ => Err(format!("`{text}` is no finite number")),
    }
}

fn shown(token: Token) -> String {
    match token {
        Token::Number(t) | Token::Name(t) => format!("`{t}`"),
        Token::Text(t) => format!("'{t}'"),
        Token::Mark(t) => format!("`{t}`"),
        Token::End => "the end".to_owned(),
    }
}
