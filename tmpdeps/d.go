package tmpdeps
import (
 _ "github.com/go-sql-driver/mysql"
 _ "github.com/redis/go-redis/v9"
 _ "github.com/go-redis/redis_rate/v10"
 _ "github.com/pires/go-proxyproto"
 _ "github.com/Shopify/toxiproxy/v2"
 _ "github.com/Shopify/toxiproxy/v2/toxics"
 _ "github.com/Shopify/toxiproxy/v2/stream"
)
