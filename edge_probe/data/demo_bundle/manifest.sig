Ì)‹{@¡úv@­VÖ¿ïò:•CDÛEzKL¨qˆP¼Ur¯YÙãx°W&ü©pÐOHZÃï€•MÏª(
