// SPDX-License-Identifier: MIT OR Apache-2.0
//! Modules, functions, statements and operands, by recursive descent.

use super::ast::*;
use super::lexer::{Kind, Lexer, Token};
use super::sources::Sources;
use super::{Names, ParseError, Symbol};

/// How deep blocks in a function may nest.
const BLOCK_DEPTH: u32 = 64;

pub(super) struct Parser<'a> {
    pub(super) source: &'a str,
    lexer: Lexer<'a>,
    pub(super) token: Token,
    previous_end: u32,
    pub(super) names: Names,
    /// Operands of lists that are not complete yet.
    pub(super) scratch: Vec<Operand>,
    sources: Sources,
}

impl<'a> Parser<'a> {
    pub fn new(source: &'a str) -> Self {
        let mut lexer = Lexer::new(source);
        let token = lexer.next();
        Parser {
            source,
            lexer,
            token,
            previous_end: 0,
            names: Names::default(),
            scratch: Vec::new(),
            sources: Sources::default(),
        }
    }

    // --- tokens ---

    fn text(&self) -> &'a str {
        &self.source[self.token.start as usize..self.token.end as usize]
    }

    pub(super) fn advance(&mut self) {
        self.previous_end = self.token.end;
        self.token = self.lexer.next();
    }

    /// The text of the current token if it begins with a dot.
    pub(super) fn dotted(&self) -> Option<&'a str> {
        (self.token.kind == Kind::Dotted).then(|| self.text())
    }

    pub(super) fn eat(&mut self, punct: u8) -> bool {
        let found = self.token.kind == Kind::Punct(punct);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect(&mut self, punct: u8) -> Result<(), ParseError> {
        if self.eat(punct) {
            Ok(())
        } else {
            Err(self.error(&format!("`{}` is expected", punct as char)))
        }
    }

    pub(super) fn word(&mut self, message: &str) -> Result<Symbol, ParseError> {
        if self.token.kind != Kind::Word {
            return Err(self.error(message));
        }
        let symbol = self.names.intern(self.text());
        self.advance();
        Ok(symbol)
    }

    pub(super) fn integer(&mut self) -> Result<u64, ParseError> {
        match self.token.kind {
            Kind::Int(value) => {
                self.advance();
                Ok(value)
            }
            _ => Err(self.error("an integer is expected")),
        }
    }

    pub(super) fn error(&self, message: &str) -> ParseError {
        let text: String = if self.token.kind == Kind::End {
            "the end of the text".into()
        } else {
            self.text().chars().take(80).collect()
        };
        ParseError {
            line: self.token.line,
            message: message.into(),
            text,
        }
    }

    /// `.file 1 "a.cu"` and `.loc 1 12 5`, to the end of the line. Whatever else they say is for
    /// debuggers.
    fn source_place(&mut self, word: &str) {
        let line = self.token.line;
        self.advance();
        if let Kind::Int(file) = self.token.kind
            && self.token.line == line
        {
            self.advance();
            match self.token.kind {
                Kind::Text if word == ".file" && self.token.line == line => {
                    self.sources.file(file, self.text().trim_matches('"'));
                }
                Kind::Int(source_line) if word == ".loc" && self.token.line == line => {
                    self.sources.place(line, file, source_line);
                }
                _ => {}
            }
        }
        while self.token.kind != Kind::End && self.token.line == line {
            self.advance();
        }
    }

    pub(super) fn skip_parentheses(&mut self) -> Result<(), ParseError> {
        self.expect(b'(')?;
        while !self.eat(b')') {
            if self.token.kind == Kind::End {
                return Err(self.error("`)` is expected"));
            }
            self.advance();
        }
        Ok(())
    }

    fn skip_braces(&mut self) {
        let mut depth = 0;
        while self.token.kind != Kind::End {
            match self.token.kind {
                Kind::Punct(b'{') => depth += 1,
                Kind::Punct(b'}') => depth -= 1,
                _ => {}
            }
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }

    // --- modules ---

    pub fn module(mut self) -> Result<Module, ParseError> {
        let mut module = Module::default();
        if self.dotted() != Some(".version") {
            return Err(self.error("`.version` is expected"));
        }
        let (mut variables, mut functions) = (0, 0);
        while self.token.kind != Kind::End {
            if self.dotted() == Some(".version") {
                self.advance();
                module.version = self.version()?.max(module.version);
                // What the module before this one keeps to itself has no name any more. Kernels have: programs launch them.
                for variable in module.variables.get(variables..).unwrap_or_default() {
                    if variable.linkage == Linkage::Internal {
                        self.names.hide(variable.name);
                    }
                }
                for function in module.functions.get(functions..).unwrap_or_default() {
                    if function.linkage == Linkage::Internal && !function.kernel {
                        self.names.hide(function.name);
                    }
                }
                (variables, functions) = (module.variables.len(), module.functions.len());
                self.sources.module();
            } else {
                self.module_item(&mut module)?;
            }
        }
        module.names = self.names;
        module.sources = self.sources;
        Ok(module)
    }

    /// `9.0` is lexed as a number, so its digits are read from the text.
    fn version(&mut self) -> Result<(u32, u32), ParseError> {
        let text = self.text();
        let parts = text
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let version = parts.ok_or_else(|| self.error("a version such as 8.0 is expected"))?;
        self.advance();
        Ok(version)
    }

    fn module_item(&mut self, module: &mut Module) -> Result<(), ParseError> {
        let mut linkage = Linkage::Internal;
        loop {
            let Some(word) = self.dotted() else {
                return Err(self.error("a directive is expected"));
            };
            if word == ".file" || word == ".loc" {
                self.source_place(word);
                return Ok(());
            }
            self.advance();
            match word {
                ".visible" => linkage = Linkage::Visible,
                ".extern" => linkage = Linkage::Extern,
                ".weak" | ".common" => linkage = Linkage::Weak,
                ".target" => return self.target(module),
                ".address_size" => {
                    if self.integer()? != 64 {
                        return Err(self.error("an address size of 64 is expected"));
                    }
                    return Ok(());
                }
                ".section" => {
                    while !matches!(self.token.kind, Kind::Punct(b'{') | Kind::End) {
                        self.advance();
                    }
                    self.skip_braces();
                    return Ok(());
                }
                ".pragma" => {
                    self.skip_statement();
                    return Ok(());
                }
                ".alias" => {
                    let name = self.word("a function's name is expected")?;
                    self.expect(b',')?;
                    let target = self.word("a function's name is expected")?;
                    module.aliases.push((name, target));
                    return self.expect(b';');
                }
                ".entry" => return self.function(true, linkage, module),
                ".func" => return self.function(false, linkage, module),
                ".global" => return self.variables(Space::Global, linkage, &mut module.variables),
                ".const" => {
                    // Old banked constant memory: `.const[2]`.
                    if self.eat(b'[') {
                        self.integer()?;
                        self.expect(b']')?;
                    }
                    return self.variables(Space::Const, linkage, &mut module.variables);
                }
                ".shared" => return self.variables(Space::Shared, linkage, &mut module.variables),
                ".local" => return self.variables(Space::Local, linkage, &mut module.variables),
                ".tex" => return self.variables(Space::Global, linkage, &mut module.variables),
                _ => {
                    return Err(
                        self.error(&format!("the directive `{word}` is not known before it"))
                    );
                }
            }
        }
    }

    fn target(&mut self, module: &mut Module) -> Result<(), ParseError> {
        loop {
            let text = self.text();
            self.word("a target is expected")?;
            if let Some(number) = text.strip_prefix("sm_") {
                let digits = number.trim_end_matches(|c: char| c.is_ascii_alphabetic());
                let target: u32 = digits
                    .parse()
                    .map_err(|_| self.error("a target such as sm_80 is expected"))?;
                module.target = target.max(module.target);
            }
            if !self.eat(b',') {
                return Ok(());
            }
        }
    }

    // --- functions ---

    fn function(
        &mut self,
        kernel: bool,
        linkage: Linkage,
        module: &mut Module,
    ) -> Result<(), ParseError> {
        let line = self.token.line;
        self.sources.function(line);
        while self.dotted() == Some(".attribute") {
            self.advance();
            self.skip_parentheses()?;
        }
        let returns = if !kernel && self.token.kind == Kind::Punct(b'(') {
            self.parameters()?
        } else {
            Vec::new()
        };
        let name = self.word("a function's name is expected")?;
        let params = if self.token.kind == Kind::Punct(b'(') {
            self.parameters()?
        } else {
            Vec::new()
        };
        let bounds = self.bounds()?;
        let body = if self.token.kind == Kind::Punct(b'{') {
            Some(self.body()?)
        } else {
            self.expect(b';')?;
            None
        };
        module.functions.push(Function {
            name,
            kernel,
            linkage,
            returns,
            params,
            bounds,
            body,
            line,
        });
        Ok(())
    }

    fn bounds(&mut self) -> Result<Bounds, ParseError> {
        let mut bounds = Bounds::default();
        while let Some(word) = self.dotted() {
            self.advance();
            match word {
                ".maxntid" => bounds.max_threads = Some(self.extents()?),
                ".reqntid" => bounds.required_threads = Some(self.extents()?),
                ".pragma" => {
                    self.skip_statement();
                }
                ".attribute" => self.skip_parentheses()?,
                ".explicitcluster" | ".reqnctapercluster" => {
                    bounds.cluster = true;
                    self.skip_integers();
                }
                // Hints to the compiler, with or without numbers.
                _ => self.skip_integers(),
            }
        }
        Ok(bounds)
    }

    fn extents(&mut self) -> Result<[u32; 3], ParseError> {
        let mut extents = [1; 3];
        for extent in &mut extents {
            *extent = u32::try_from(self.integer()?)
                .map_err(|_| self.error("a 32-bit extent is expected"))?;
            if !self.eat(b',') {
                break;
            }
        }
        Ok(extents)
    }

    fn skip_integers(&mut self) {
        while matches!(self.token.kind, Kind::Int(_) | Kind::Punct(b',')) {
            self.advance();
        }
    }

    /// Everything up to and with the next semicolon that no braces enclose.
    /// Skips what is left of a statement. Returns the longest run of words without anything between
    /// them, which tells an instruction of a later PTX, whose operands have commas between them,
    /// from text that is no PTX at all.
    fn skip_statement(&mut self) -> u32 {
        let mut depth = 0u32;
        let (mut run, mut longest) = (0u32, 0u32);
        loop {
            match self.token.kind {
                Kind::End => return longest,
                Kind::Punct(b';') if depth == 0 => {
                    self.advance();
                    return longest;
                }
                Kind::Punct(b'{') => depth += 1,
                Kind::Punct(b'}') if depth == 0 => return longest,
                Kind::Punct(b'}') => depth -= 1,
                _ => {}
            }
            run = if self.token.kind == Kind::Word {
                run + 1
            } else {
                0
            };
            longest = longest.max(run);
            self.advance();
        }
    }

    fn body(&mut self) -> Result<Body, ParseError> {
        let mut body = Body::default();
        self.expect(b'{')?;
        let mut depth = 1u32;
        while depth > 0 {
            match self.token.kind {
                Kind::Punct(b'{') if depth > BLOCK_DEPTH => {
                    return Err(self.error("blocks that nest less deep are expected"));
                }
                Kind::Punct(b'{') => {
                    self.advance();
                    depth += 1;
                    body.statements.push(Statement::Open);
                }
                Kind::Punct(b'}') => {
                    self.advance();
                    depth -= 1;
                    if depth > 0 {
                        body.statements.push(Statement::Close);
                    }
                }
                Kind::Punct(b';') => self.advance(),
                Kind::End => return Err(self.error("`}` is expected")),
                _ => {
                    let (start, line) = (self.token.start, self.token.line);
                    self.scratch.clear();
                    if let Err(error) = self.statement(&mut body) {
                        if self.skip_statement() > 2 {
                            return Err(error);
                        }
                        let text = self.source
                            [start as usize..self.previous_end.max(start) as usize]
                            .trim();
                        let text: String = text.chars().take(200).collect();
                        let text = self.names.intern(&text);
                        body.statements.push(Statement::Unknown { text, line });
                    }
                }
            }
        }
        Ok(body)
    }

    fn statement(&mut self, body: &mut Body) -> Result<(), ParseError> {
        if let Some(word) = self.dotted() {
            return self.directive(word, body);
        }
        let line = self.token.line;
        let mut guard = None;
        if self.eat(b'@') {
            let negated = self.eat(b'!');
            guard = Some((self.word("a predicate is expected")?, negated));
        }
        let start = self.token.start;
        let contiguous = self.token.end;
        if self.token.kind != Kind::Word {
            return Err(self.error("an instruction is expected"));
        }
        let first = self.text();
        self.advance();
        if guard.is_none() && self.eat(b':') {
            let name = self.names.intern(first);
            return self.labelled(name, body);
        }
        let opcode = self.opcode(start, contiguous, first);
        let operands = self.operand_list(b';', body, 0)?;
        self.expect(b';')?;
        body.statements.push(Statement::Instruction(Instruction {
            guard,
            opcode,
            operands,
            line,
        }));
        Ok(())
    }

    /// The opcode and its dotted modifiers as one name.
    fn opcode(&mut self, start: u32, mut end: u32, first: &str) -> Symbol {
        let mut spread = false;
        while self.token.kind == Kind::Dotted {
            spread |= self.token.start != end;
            end = self.token.end;
            self.advance();
        }
        let text = &self.source[start as usize..end as usize];
        if spread {
            let joined: String = text.split_whitespace().collect();
            self.names.intern(&joined)
        } else if text.is_empty() {
            self.names.intern(first)
        } else {
            self.names.intern(text)
        }
    }

    fn directive(&mut self, word: &str, body: &mut Body) -> Result<(), ParseError> {
        if word == ".loc" || word == ".file" {
            self.source_place(word);
            return Ok(());
        }
        let space = match word {
            ".reg" => {
                self.advance();
                return self.registers(body);
            }
            ".pragma" => {
                self.advance();
                if self.token.kind == Kind::Text
                    && let Some(mask) = used_bytes_mask(self.text())
                {
                    body.statements.push(Statement::UsedBytes(mask));
                }
                self.skip_statement();
                return Ok(());
            }
            ".local" => Space::Local,
            ".shared" => Space::Shared,
            ".param" => Space::Param,
            ".global" => Space::Global,
            ".const" => Space::Const,
            _ => return Err(self.error("an instruction is expected")),
        };
        self.advance();
        let mut variables = Vec::new();
        self.variables(space, Linkage::Internal, &mut variables)?;
        body.statements.extend(
            variables
                .into_iter()
                .map(|v| Statement::Variable(Box::new(v))),
        );
        Ok(())
    }

    fn registers(&mut self, body: &mut Body) -> Result<(), ParseError> {
        let ty = self.dotted().and_then(|word| Type::from_name(&word[1..]));
        let ty = ty.ok_or_else(|| self.error("a register type is expected"))?;
        self.advance();
        loop {
            let name = self.word("a register's name is expected")?;
            let mut count = None;
            if self.eat(b'<') {
                let value = self.integer()?;
                count = Some(
                    u32::try_from(value).map_err(|_| self.error("a 32-bit count is expected"))?,
                );
                self.expect(b'>')?;
            }
            body.statements
                .push(Statement::Registers { ty, name, count });
            if !self.eat(b',') {
                return self.expect(b';');
            }
        }
    }

    fn labelled(&mut self, name: Symbol, body: &mut Body) -> Result<(), ParseError> {
        match self.dotted() {
            Some(".branchtargets") => {
                self.advance();
                let targets = self.operand_list(b';', body, 0)?;
                self.expect(b';')?;
                body.statements
                    .push(Statement::BranchTargets { name, targets });
            }
            Some(".calltargets") => {
                self.skip_statement();
                body.statements.push(Statement::CallTargets(name));
            }
            Some(".callprototype") => {
                self.advance();
                let mut returns = Vec::new();
                if self.token.kind == Kind::Punct(b'(') {
                    returns = self.parameters()?;
                }
                self.word("a prototype's `_` is expected")?;
                let mut params = Vec::new();
                if self.token.kind == Kind::Punct(b'(') {
                    params = self.parameters()?;
                }
                while self.dotted().is_some() {
                    self.advance();
                    self.skip_integers();
                }
                self.expect(b';')?;
                body.statements
                    .push(Statement::Prototype(Box::new(Prototype {
                        name,
                        returns,
                        params,
                    })));
            }
            _ => body.statements.push(Statement::Label(name)),
        }
        Ok(())
    }

    // --- operands ---
}

/// The mask of the pragma `"used_bytes_mask 0x3f"`; the other pragmas only concern compilers.
fn used_bytes_mask(text: &str) -> Option<u32> {
    let mask = text
        .trim_matches('"')
        .strip_prefix("used_bytes_mask")?
        .trim();
    match mask.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => mask.parse().ok(),
    }
}
