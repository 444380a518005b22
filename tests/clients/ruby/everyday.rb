# What programs do with Ruby's redis every day. tests/clients.rs restarts the server when asked to.

require "json"
require "redis"

URL = ENV.fetch("LARDER_URL")
FEATURES = ENV.fetch("LARDER_FEATURES").split
BINARY_KEY = "\x00\xff\r\n \"'*\xfe".b
COMPARE_AND_DELETE =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end"

def same(expected, found)
  raise "expected #{expected.inspect}, found #{found.inspect}" unless expected == found
end

def fails(kind, text)
  yield
rescue kind => error
  raise unless error.message.include?(text)
else
  raise "no error with #{text}"
end

def connect(login = nil)
  Redis.new(url: "#{login ? URL.sub(/:[^:]*@/, "#{login}@") : URL}/6", id: "everyday")
end

client = connect
client.flushdb
same "PONG", client.ping
same "everyday", client.client(:getname)

# JSON values and their deadlines
text = JSON.generate({ id: 17, note: "Grüße", paid: nil })
same "OK", client.set("order:17", text, ex: 100)
same text, client.get("order:17").force_encoding("UTF-8")
same true, client.ttl("order:17").between?(90, 100)
same false, client.set("order:17", "1", nx: true)
same text.b, client.set("order:17", "1", get: true).b
same "1", client.getdel("order:17")
same nil, client.get("order:17")

# a key of any bytes, and a deadline in the past
same "OK", client.set(BINARY_KEY, "[0]")
same [BINARY_KEY], client.keys.map(&:b)
same true, client.pexpireat(BINARY_KEY, 1)
same 0, client.exists(BINARY_KEY)

# a pipeline, a transaction, and one that another client gets in the way of
replies = client.pipelined { |pipeline| 1000.times { |index| pipeline.set("key:#{index}", { index: index }.to_json) } }
same ["OK"] * 1000, replies
same({ "key:1" => '{"index":1}', "missing" => nil }, client.mapped_mget("key:1", "missing"))
replies = client.multi do |transaction|
  transaction.set("counter", "41")
  transaction.incr("counter")
end
same ["OK", 42], replies
other = connect
aborted = client.watch("counter") do
  other.set("counter", "5")
  client.multi { |transaction| transaction.set("counter", "6") }
end
same nil, aborted
same "5", client.get("counter")

# walking
same (0...1000).map { |index| "key:#{index}" }.sort, client.scan_each(match: "key:*", count: 100).to_a.sort
same 1001, client.dbsize

# errors are exceptions, and the connection lives on
client.set("text", '"not a number"')
fails(Redis::CommandError, "not an integer") { client.incr("text") }
fails(Redis::CommandError, "unknown command") { client.call("NONSENSE") }
same '"not a number"', client.get("text")
fails(Redis::BaseError, "WRONGPASS") { connect(":wrong").ping }

if FEATURES.include?("pubsub")
  received = []
  subscriber = connect
  subscriber.subscribe("ruby") do |on|
    on.subscribe { same 1, other.publish("ruby", "one") }
    on.message do |channel, message|
      received << [channel, message]
      message == "one" ? other.publish("ruby", "two") : subscriber.unsubscribe
    end
  end
  same [%w[ruby one], %w[ruby two]], received
  same "PONG", subscriber.ping
end

if FEATURES.include?("acl")
  same "OK", client.call("ACL", "SETUSER", "ruby", "on", ">open", "~shop:*", "+@read", "+@write", "+@connection")
  shop = connect("ruby:open")
  same "OK", shop.set("shop:1", "1")
  fails(Redis::CommandError, "NOPERM") { shop.get("counter") }
  same 1, client.call("ACL", "DELUSER", "ruby")
end

if FEATURES.include?("eval")
  client.set("job", '"mine"')
  same 0, client.eval(COMPARE_AND_DELETE, keys: ["job"], argv: ['"theirs"'])
  same 1, client.evalsha(client.script(:load, COMPARE_AND_DELETE), keys: ["job"], argv: ['"mine"'])
  fails(Redis::CommandError, "NOSCRIPT") { client.evalsha("0" * 40) }
end

# the same client goes on after a restart
puts "restart"
$stdout.flush
$stdin.gets
same '{"index":7}', client.get("key:7")
same "OK", client.set("key:7", "7")
puts "done"
