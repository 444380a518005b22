# Rails.cache with ActiveSupport's RedisCacheStore, as the Rails guide shows it. The store takes any bytes, because Rails
# marshals.
require 'active_support'
require 'active_support/notifications'
require 'active_support/cache'
require 'active_support/cache/redis_cache_store'

def same(expected, found)
  raise "expected #{expected.inspect}, found #{found.inspect}" unless expected == found
end

def cache(namespace = 'app')
  # an error of the server is an error of the test; an application would go on without its cache
  ActiveSupport::Cache::RedisCacheStore.new(
    url: "#{ENV.fetch('LARDER_URL')}/2", namespace: namespace, expires_in: 3600,
    error_handler: ->(method:, returning:, exception:) { raise exception }
  )
end

store = cache
user = { 'name' => 'Ada', 'langs' => %w[en fr], born: 1815, note: "caf\u00e9 \x00" }

same true, !!store.write('user:1', user, expires_in: 600)
same user, store.read('user:1')
same nil, store.read('user:2')
same true, !!store.exist?('user:1')
same 'made', store.fetch('made') { 'made' }
same('made', store.fetch('made') { raise 'it is there' })
same 'again', store.fetch('made', force: true) { 'again' }
same true, !!store.write('once', 1, unless_exist: true)
same false, !!store.write('once', 2, unless_exist: true)
same 1, store.read('once')

store.write_multi({ 'a' => 1, 'b' => [2] }, expires_in: 60)
same({ 'a' => 1, 'b' => [2] }, store.read_multi('a', 'b', 'c'))
same({ 'b' => [2], 'c' => 'c!' }, store.fetch_multi('b', 'c') { |key| "#{key}!" })
same 2, store.delete_multi(%w[a b])

# large values are compressed
text = 'to be or not to be ' * 1_000
store.write('text', text, compress: true)
same text, store.read('text')

same 5, store.increment('visits', 5)
same 3, store.decrement('visits', 2)
same 3, store.read('visits', raw: true).to_i
same 1, store.increment('hits', 1, expires_in: 60)

store.write('short', 'x', expires_in: 1)
store.write('racing', 'old', expires_in: 1)
sleep 1.2
same nil, store.read('short')
same('new', store.fetch('racing', race_condition_ttl: 10) { 'new' })
store.write('versioned', 'one', version: 1)
same nil, store.read('versioned', version: 2)

# SCAN and UNLINK, within the namespace
other = cache('other')
other.write('view:1', 'kept')
%w[view:1 view:2 page:1].each { |key| store.write(key, key) }
store.delete_matched('view:*')
same [false, false, true], %w[view:1 view:2 page:1].map { |key| store.exist?(key) }
same 'kept', other.read('view:1')

puts 'restart'
$stdout.flush
gets

store = cache
same user, store.read('user:1')
same 3, store.read('visits', raw: true).to_i
store.delete('user:1')
same false, store.exist?('user:1')
store.clear
same false, store.exist?('page:1')
same 'kept', cache('other').read('view:1')
puts 'done'
