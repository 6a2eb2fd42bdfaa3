//! Runs Lua scripts on the server. A script is run by its digest, in one round trip. Its code is sent only if the
//! server lacks it.

use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs, Value,
    aio::MultiplexedConnection,
};

use super::bounds::Rejected;

/// Converts a number that a script returned. The library's own conversion would also accept text, and would convert
/// other values to 0.
pub(super) fn number(value: &Value) -> Result<u64, Rejected> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| Rejected),
        _ => Err(Rejected),
    }
}

/// The scripts, each of which begins with `checks.lua`.
pub(super) struct Scripts {
    pub(super) quota: LuaScript,
    pub(super) claims: LuaScript,
    pub(super) purge: LuaScript,
    pub(super) ceilings: LuaScript,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            quota: LuaScript::new(concat!(include_str!("checks.lua"), include_str!("quota.lua"))),
            claims: LuaScript::new(concat!(include_str!("checks.lua"), include_str!("claims.lua"))),
            purge: LuaScript::new(concat!(include_str!("checks.lua"), include_str!("purge.lua"))),
            ceilings: LuaScript::new(concat!(include_str!("checks.lua"), include_str!("ceilings.lua"))),
        }
    }
}

pub(super) struct LuaScript {
    code: &'static str,
    digest: String,
}

impl LuaScript {
    fn new(code: &'static str) -> Self {
        Self { code, digest: redis::Script::new(code).get_hash().to_owned() }
    }

    pub(super) fn call(&self) -> ScriptCall<'_> {
        ScriptCall { script: self, keys: Vec::new(), arguments: Vec::new() }
    }
}

pub(super) struct ScriptCall<'a> {
    script: &'a LuaScript,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl ScriptCall<'_> {
    pub(super) fn key(mut self, key: impl ToRedisArgs) -> Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    pub(super) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    /// Runs the script once. If the server does not know the digest, it has done nothing, and gets the code.
    ///
    /// The code is sent with `EVAL` rather than with `SCRIPT LOAD` followed by `EVALSHA`. The server could forget the
    /// script between those two commands. A claim would then fail although Redis is available, and two replicas would
    /// fetch the same meeting.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        mut connection: MultiplexedConnection,
    ) -> Result<T, RedisError> {
        match self.command("EVALSHA", &self.script.digest).query_async(&mut connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.command("EVAL", self.script.code).query_async(&mut connection).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}
